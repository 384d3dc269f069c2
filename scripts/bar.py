"""One bar over all trainings of a report or a benchmark, and what is drawn of them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

BATCHES_OF_A_FIGURE = 200
"""Which take about as long as drawing one."""


class Bar:
    """From the first batch of the first run to the last figure."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def trained(self, names: Sequence[str], batches: int) -> None:
        """So many batches of all runs are trained, and these are in training."""
        self._progress.update(self._task, completed=batches, description=f"training {', '.join(names)}")

    def drawing(self, name: str) -> None:
        """The next figure is being drawn."""
        self._progress.update(self._task, advance=BATCHES_OF_A_FIGURE, description=f"drawing {name}")


@contextmanager
def shown(batches: int, figures: int = 0) -> Iterator[Bar]:
    """A bar on stderr for so many batches and figures."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:.0f} %"))
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=Console(stderr=True)) as progress:
        yield Bar(progress, progress.add_task("", total=batches + BATCHES_OF_A_FIGURE * figures))
