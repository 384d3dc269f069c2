"""A logger that keeps what it gets."""

from typing import Any

from lightning.pytorch.loggers.logger import Logger


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
