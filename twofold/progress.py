"""One bar for the whole run, with the latest losses beside it."""

import math
import time
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column

SECONDS_BETWEEN_READINGS = 0.25


class RunProgress(ProgressBar):
    """Counts batches from the first to the last of the run, not epoch by epoch."""

    def __init__(self) -> None:
        super().__init__()
        self._enabled = True
        self._read_at = 0.0
        self._progress: Progress | None = None

    def disable(self) -> None:
        self._enabled = False

    def enable(self) -> None:
        self._enabled = True

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._start("fit", _batches_to_train(trainer), trainer.global_step)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._advance(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._stop(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == "validate":
            self._start("validate", sum(trainer.num_val_batches))

    def on_validation_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if trainer.state.fn == "validate":
            self._advance(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == "validate":
            self._stop(trainer)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._start("test", sum(trainer.num_test_batches))

    def on_test_batch_end(self, trainer: Trainer, *_: Any) -> None:
        self._advance(trainer)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._stop(trainer)

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._start("predict", sum(trainer.num_predict_batches))

    def on_predict_batch_end(self, trainer: Trainer, *_: Any) -> None:
        self._advance(trainer)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._stop(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._stop(trainer)

    def _start(self, description: str, total: float, completed: int = 0) -> None:
        if not self._enabled:
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=12),
            MofNCompleteColumn(table_column=Column(no_wrap=True)),
            TimeRemainingColumn(compact=True, elapsed_when_finished=True, table_column=Column(no_wrap=True)),
            TextColumn("{task.fields[readings]}", table_column=Column(overflow="ellipsis", no_wrap=True)),
        )
        self._progress = Progress(*columns, auto_refresh=False)
        self._completed = completed
        known = None if math.isinf(total) else int(total)
        self._task = self._progress.add_task(description, total=known, completed=completed, readings="")
        self._progress.start()
        self._progress.refresh()

    def _advance(self, trainer: Trainer) -> None:
        if self._progress is None:
            return
        self._completed += 1
        # Drawing takes as long as some batches, and reading a metric waits for the device.
        if time.monotonic() - self._read_at > SECONDS_BETWEEN_READINGS:
            self._read(trainer)

    def _read(self, trainer: Trainer) -> None:
        assert self._progress is not None
        metrics = trainer.progress_bar_metrics.items()
        readings = "  ".join(f"{key.removeprefix('train/')} {float(value):.3g}" for key, value in metrics)
        self._progress.update(self._task, completed=self._completed, readings=readings, refresh=True)
        self._read_at = time.monotonic()

    def _stop(self, trainer: Trainer) -> None:
        if self._progress is not None:
            self._read(trainer)
            self._progress.stop()
            self._progress = None


def _batches_to_train(trainer: Trainer) -> float:
    by_steps = math.inf if trainer.max_steps == -1 else trainer.max_steps
    by_epochs = math.inf if trainer.max_epochs in (-1, None) else trainer.max_epochs * trainer.num_training_batches
    return min(by_steps, by_epochs)
