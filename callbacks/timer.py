"""How long a batch takes."""

import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from callbacks.batches import batches_trained


class Timer(Callback):
    """Logs wall-clock times every `trainer.log_every_n_steps` batches and when training is stopped early.

    `time/ms_per_batch` is the mean since it was last logged; `time/seconds` is the time since training started or
    resumed. Measured times differ from run to run; by the prefix `time/` a logger can keep them apart from the
    numbers that a run reproduces.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._start = self._since = time.perf_counter()
        self._batches = 0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._batches += 1
        interval: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
        if interval and (batches_trained(trainer) % interval == 0 or trainer.should_stop):  # 0: nothing is logged
            now = time.perf_counter()
            pl_module.log("time/ms_per_batch", 1000 * (now - self._since) / self._batches)
            pl_module.log("time/seconds", now - self._start)
            self._since, self._batches = now, 0
