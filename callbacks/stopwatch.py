"""How long a batch takes."""

import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer


class Timer(Callback):
    """Logs how long training has taken, every `trainer.log_every_n_steps` batches and when it stops.

    `time/ms_per_batch` is the mean wall-clock time since the last reading; `time/seconds` is that since training
    started, or in a resumed run, since it went on.

    A measured time differs from run to run; by the prefix `time/` loggers can keep it apart from what a run reproduces.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._start = self._since = time.perf_counter()
        self._batches = 0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._batches += 1
        interval: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
        if interval and (trainer.global_step % interval == 0 or trainer.should_stop):  # 0: nothing is logged
            now = time.perf_counter()
            pl_module.log("time/ms_per_batch", 1000 * (now - self._since) / self._batches)
            pl_module.log("time/seconds", now - self._start)
            self._since, self._batches = now, 0
