"""What loggers get: a logger that keeps it, and the columns of a CSV file."""

from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger

from twofold.tables import read_rows


def columns(table: Path) -> dict[str, list[tuple[int, float]]]:
    """By column, the steps with a value, and the value."""
    found: dict[str, list[tuple[int, float]]] = {}
    for row in read_rows(table):
        for key in row.keys() - {"step"}:
            if row[key]:
                found.setdefault(key, []).append((int(row["step"]), float(row[key])))
    return found


class RowLogger(Logger):
    """Holds each row with its step."""

    name = version = "rows"

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[tuple[int | None, dict[str, float]]] = []

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        self.rows.append((step, metrics))

    def log_hyperparams(self, params: Any, *_: Any, **__: Any) -> None: ...

    def of(self, prefix: str) -> dict[int | None, dict[str, float]]:
        """The rows that hold such a key, by their step."""
        return {step: row for step, row in self.rows if any(key.startswith(prefix) for key in row)}
