"""A run's numbers as CSV files."""

import csv
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from torch import Tensor

from callbacks.logging import warn_if_not_written
from twofold.tables import read_rows, write_rows

MEASURED_TIME = "time/"


class CSVLogger(Logger):
    """Writes `metrics.csv`, which a run reproduces, and `timing.csv`, which holds measured times.

    A row is on disk as soon as it is logged. If it can't be written, no part of it is, and a warning says so once. A
    resumed run appends to the same files. (Lightning's own logger deletes them on resume.)

    Args:
        save_dir: the folder; the CLI fills in the run's folder.

    Attributes:
        present_step: returns the step of a row that is logged without one; the CLI sets it.
    """

    name = version = ""

    def __init__(self, save_dir: str | None = None) -> None:
        super().__init__()
        self._folder = Path(save_dir or ".")
        self._metrics = _Table(self._folder / "metrics.csv")
        self._timing = _Table(self._folder / "timing.csv")
        self.present_step: Callable[[], int] = lambda: 0

    @property
    def save_dir(self) -> str:
        return str(self._folder)

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Does nothing: they are in the run's `config.yaml`."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        values = {key: float(value) if isinstance(value, bool | Tensor) else value for key, value in metrics.items()}
        values.pop("step", None)  # Lightning's epoch-end metrics may have one; the column is the batch's
        measured = {key: value for key, value in values.items() if key.startswith(MEASURED_TIME)}
        reproduced = {key: value for key, value in values.items() if key not in measured}
        step = self.present_step() if step is None else int(step)
        with warn_if_not_written("a row of metrics.csv or timing.csv"):
            if measured:
                self._timing.append({"step": step, **measured})
            if reproduced.keys() - {"epoch"}:
                self._metrics.append({"step": step, **reproduced})

    @rank_zero_only
    def drop_from(self, step: int) -> None:
        """Removes the rows of batch `step` and later, which a resumed run writes again."""
        self._metrics.drop_from(step)
        self._timing.drop_from(step)

    def rows(self) -> Iterator[dict[str, float]]:
        """The rows of `metrics.csv`, each as its `step` and the values that it has."""
        for row in read_rows(self._metrics.path):
            yield {name: number for name, value in row.items() if (number := _number(value)) is not None}


def _number(text: str) -> float | None:
    """The number in a cell; None for an empty one, and for a text that the user's code logged."""
    try:
        return float(text)
    except ValueError:
        return None


class _Table:
    """A CSV file that grows by rows, and by columns when a row has new ones."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.columns = list(next(iter(read_rows(path)), ()))

    def append(self, row: dict[str, Any]) -> None:
        new = [column for column in row if column not in self.columns]
        if new:
            write_rows(self.path, [*self.columns, *new], [*read_rows(self.path), row])
            self.columns += new
            return
        size = self.path.stat().st_size
        try:
            with self.path.open("a", newline="", encoding="utf-8") as file:
                csv.DictWriter(file, self.columns).writerow(row)
        except OSError:
            os.truncate(self.path, size)  # the disk may have taken half a row
            raise

    def drop_from(self, step: int) -> None:
        """Restores the file as it was before batch `step`, without the columns that came later."""
        complete = [row for row in read_rows(self.path) if None not in row.values()]  # a crash may leave half a row
        rows = [row for row in complete if int(row["step"]) < step]
        self.columns = [column for column in (rows[0] if rows else ()) if any(row[column] for row in rows)]
        if rows:
            write_rows(self.path, self.columns, [{column: row[column] for column in self.columns} for row in rows])
        else:
            self.path.unlink(missing_ok=True)
