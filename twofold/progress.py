"""The progress bar: one for the whole training, with the latest losses."""

import math
import sys
import time
from contextlib import suppress
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar, TQDMProgressBar
from lightning.pytorch.callbacks.progress.tqdm_progress import Tqdm

SECONDS_BETWEEN_UPDATES = 0.25


class RunProgress(TQDMProgressBar):
    """Counts batches from the first to the last of the run, not epoch by epoch, and shows nothing of validation.

    There is no bar if stdout isn't a terminal, or if the module's `configure_callbacks` returns another one.
    """

    @property
    def is_enabled(self) -> bool:
        callbacks = self.trainer.callbacks  # type: ignore[attr-defined]  # Lightning sets it elsewhere
        bars = [callback for callback in callbacks if isinstance(callback, ProgressBar)]
        return super().is_enabled and sys.stdout.isatty() and bars == [self]

    def init_sanity_tqdm(self) -> Tqdm:
        return Tqdm(disable=True)

    def init_validation_tqdm(self) -> Tqdm:
        return super().init_validation_tqdm() if self.trainer.state.fn == "validate" else Tqdm(disable=True)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        bar = self.train_progress_bar
        total = trainer.estimated_stepping_batches
        bar.total = None if math.isinf(total) else total
        bar.initial = trainer.fit_loop.total_batch_idx + 1  # of a resumed run; the rate counts from there
        self._show(trainer, pl_module)

    def on_train_epoch_start(self, *_: Any) -> None:
        """Goes on with the same bar."""

    def on_train_epoch_end(self, *_: Any) -> None:
        """Goes on with the same bar."""

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        # Drawing takes as long as some batches, and reading a metric waits for the device.
        if self.is_enabled and time.monotonic() - self._shown_at > SECONDS_BETWEEN_UPDATES:
            self._show(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._show(trainer, pl_module)
        super().on_train_end()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        with suppress(TypeError):  # raised before training has started
            self.train_progress_bar.close()  # so that the message begins a new line

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        return {name.removeprefix("train/"): value for name, value in trainer.progress_bar_metrics.items()}

    def _show(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._shown_at = time.monotonic()
        self.train_progress_bar.n = trainer.fit_loop.total_batch_idx + 1
        self.train_progress_bar.set_postfix(self.get_metrics(trainer, pl_module))
