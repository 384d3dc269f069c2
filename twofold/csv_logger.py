"""A run's numbers as CSV files, for everybody."""

import csv
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from callbacks.best_effort import BestEffort
from twofold.tables import read_rows, write_rows

MEASURED_TIME = "time/"


class CSVLogger(Logger):
    """Writes `metrics.csv`, which a run reproduces to the bit, and `timing.csv`, which holds measured times.

    A row is on disk as soon as it is logged, or, where it can't be written, not at all, and a warning says so once. A
    resumed run goes on in the same files.

    Args:
        save_dir: the folder; the CLI puts the run's folder here.
    """

    def __init__(self, save_dir: str | None = None) -> None:
        super().__init__()
        self._folder = Path(save_dir or ".")
        self._metrics = _Table(self._folder / "metrics.csv")
        self._timing = _Table(self._folder / "timing.csv")
        self._tables = BestEffort("metrics.csv or timing.csv")

    @property
    def name(self) -> str:
        return ""

    @property
    def version(self) -> str:
        return ""

    @property
    def save_dir(self) -> str:
        return str(self._folder)

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """The run's `config.yaml` holds them."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        measured = {key: value for key, value in metrics.items() if key.startswith(MEASURED_TIME)}
        reproduced = {key: value for key, value in metrics.items() if key not in measured}
        with self._tables.attempt():
            if measured:
                self._timing.append({"step": step, **measured})
            if reproduced.keys() - {"epoch"}:
                self._metrics.append({"step": step, **reproduced})

    @rank_zero_only
    def forget_from(self, step: int) -> None:
        """Drops the rows of batch `step` and later, which a resumed run will write again."""
        self._metrics.keep_before(step)
        self._timing.keep_before(step)

    def rows(self) -> Iterator[dict[str, float]]:
        """Of `metrics.csv`: by name what each row has, its `step` too."""
        for row in self._metrics.rows():
            yield {name: float(value) for name, value in row.items() if value}


class _Table:
    """A CSV file that grows by rows, and by columns when a row brings new ones."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._columns: list[str] | None = None

    def append(self, row: dict[str, Any]) -> None:
        if self._columns is None:
            self._columns = list(next(iter(self.rows()), ()))
        new = [column for column in row if column not in self._columns]
        if new:
            columns = [*self._columns, *new]
            write_rows(self.path, columns, [*self.rows(), row])
            self._columns = columns
        else:
            length = self.path.stat().st_size
            try:
                with self.path.open("a", newline="") as file:
                    csv.DictWriter(file, self._columns).writerow(row)
            except OSError:
                os.truncate(self.path, length)  # no half a row
                raise

    def keep_before(self, step: int) -> None:
        """Leaves the file as it was before batch `step`, without the columns that came later."""
        whole = [row for row in self.rows() if None not in row.values()]  # a dead battery may leave half a row
        rows = [row for row in whole if int(row["step"]) < step]
        self._columns = [column for column in (rows[0] if rows else ()) if any(row[column] for row in rows)]
        if rows:
            self._write([{column: row[column] for column in self._columns} for row in rows])
        else:
            self.path.unlink(missing_ok=True)

    def rows(self) -> list[dict[str, Any]]:
        return read_rows(self.path)

    def _write(self, rows: list[dict[str, Any]]) -> None:
        assert self._columns is not None
        write_rows(self.path, self._columns, rows)
