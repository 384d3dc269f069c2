"""A training of a sweep or a report: `twofold fit` in a process of its own, which ends with ours and can go on."""

import csv
import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from types import FrameType
from typing import Any

from filelock import FileLock, Timeout

from scripts.supervised import SECONDS_TO_STOP
from twofold.errors import UsageError
from twofold.run_folder import RunFolder

COMMAND = (sys.executable, "-m", "scripts.supervised")
LAST_WORDS = "output.txt"
LONGEST_ROW = 4096
"""Bytes of a row of `metrics.csv`."""


class Training:
    """A run of its own under a folder, new or gone on with.

    Args:
        folder: under which the run lies; what the process printed stands there in `output.txt`.
        arguments: behind `twofold`, for a new run.
        here: behind these, also where a run goes on: what belongs to this machine, such as `--data.root`.
    """

    def __init__(self, folder: Path, arguments: Sequence[str], here: Sequence[str] = ()) -> None:
        self.folder = folder
        self.arguments = arguments
        self.here = here
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def run(self) -> RunFolder | None:
        """The run, if it has begun."""
        runs = (RunFolder(path.parent) for path in sorted(self.folder.glob("*/*/run.json")))
        return next((run for run in runs if run.facts), None)

    @property
    def state(self) -> str | None:
        """The run's; None before it has begun."""
        return None if self.run is None else self.run.state

    def start(self, **environment: str) -> None:
        """Starts the process."""
        arguments = self.arguments
        if self.run is not None:
            arguments = ["fit", "-c", str(self.run.config), "--ckpt_path", "last"]
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / LAST_WORDS).open("wb") as output:
            self._process = subprocess.Popen(
                [*COMMAND, *arguments, *self.here],
                env={**os.environ, "TWOFOLD_RUNS": str(self.folder), **environment},
                stdin=subprocess.PIPE,  # whose end tells it that we have died
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # else Ctrl-C would reach it twice, from the terminal and from us
            )

    @property
    def exit_code(self) -> int | None:
        """None while it trains; 128 + the signal when one ended it."""
        if self._process is None or self._process.poll() is None:
            return None
        if self._process.stdin is not None:
            self._process.stdin.close()
        code = self._process.returncode
        return 128 - code if code < 0 else code

    def stop(self) -> None:
        """Ends the process, after its batch and with a checkpoint if that takes less than a minute."""
        if self._process is None:
            return
        self._process.terminate()
        with self._process:  # which waits for it and closes what was open to it
            try:
                self._process.wait(SECONDS_TO_STOP)
            except subprocess.TimeoutExpired:
                self._process.kill()

    def logged(self, metric: str) -> list[float]:
        """The values of the metric so far."""
        return [float(row[metric]) for row in self._rows() if row.get(metric)]

    def batches(self, metric: str) -> int:
        """After how many the metric was logged last."""
        return max((int(row["step"]) + 1 for row in self._rows() if row.get(metric)), default=0)

    @property
    def batches_trained(self) -> int:
        """As far as something was logged of them; at most one more than there are, where the end logged something."""
        table = self._table
        if table is None:
            return 0
        with table.open("rb") as file:  # only its end, for it is long and this is asked often
            file.seek(-min(LONGEST_ROW, table.stat().st_size), os.SEEK_END)
            *_, last = [b"", *file.read().split(b"\n")[:-1]]
        step, _, _ = last.partition(b",")
        return int(step) + 1 if step.isdigit() else 0

    @property
    def metrics(self) -> list[str]:
        """The names of all that was logged."""
        return [name for name in next(iter(self._rows()), ()) if name not in ("step", "epoch")]

    @property
    def _table(self) -> Path | None:
        table = None if self.run is None else self.run.path / "metrics.csv"
        return table if table is not None and table.exists() else None

    def _rows(self) -> list[dict[str, str]]:
        table = self._table
        if table is None:
            return []
        text = table.read_text()
        whole = text[: text.rfind("\n") + 1]  # the last row may be being written
        return list(csv.DictReader(io.StringIO(whole)))

    @property
    def last_words(self) -> str:
        """What it complained of last, in one line; else by what it ended."""
        output = self.folder / LAST_WORDS
        lines = output.read_text(errors="replace").splitlines() if output.exists() else []
        complaints = [line.removeprefix("twofold: ") for line in lines if line.startswith("twofold: ")]
        if complaints:
            return complaints[-1]
        code = self.exit_code or 0
        ended_by = f" by {signal.Signals(code - 128).name}" if code - 128 in set(signal.Signals) else ""
        return f"ended{ended_by} with exit code {code}; see {output}"


@contextmanager
def stopped_by_signals(command: str, stop: Event) -> Iterator[list[signal.Signals]]:
    """Within, SIGINT and SIGTERM set `stop`; yields a list to which the one that came is added. A second one kills."""
    received: list[signal.Signals] = []

    def heed(number: int, frame: FrameType | None) -> None:
        received.append(signal.Signals(number))
        stop.set()
        for other in before:
            signal.signal(other, signal.SIG_DFL)
        os.write(2, f"\n{command}: stopping after these batches; Ctrl-C ends it at once\n".encode())

    before: dict[signal.Signals, Any] = {}
    for number in (signal.SIGINT, signal.SIGTERM):
        before[number] = signal.signal(number, heed)
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def alone(lock: Path, taken: str, refused: Callable[[OSError], str]) -> Iterator[None]:
    """Within, no other process holds this lock, whose folder is made.

    Args:
        taken: what to say when another one does.
        refused: what to say when it can't be written.

    Raises:
        UsageError: in these words.
    """
    held = FileLock(lock, timeout=0)
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        lock.touch()  # FileLock takes some refusals of the disk for another's lock
        held.acquire()
    except Timeout as error:
        raise UsageError(taken) from error
    except OSError as error:
        raise UsageError(refused(error)) from error
    try:
        yield
    finally:
        held.release()
