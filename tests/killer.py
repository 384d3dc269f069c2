"""A callback that sends signals to its own process at a chosen moment. Not a test.

Environment variables say what happens:

- `KILL`: a moment and the number of batches trained by then, such as "step 18". The moments are `step`, before an
  optimizer's step; `epoch`, after the last batch of an epoch; `validation`, when validation starts; `end`, after
  training; and `checkpoint`, when half of a checkpoint is written.
- `KILL_BY`: the signals, by default SIGKILL.
- `KILL_AFTER`: seconds to wait first, by default 0.
- `KILL_RANK`: the rank that gets the signals, by default all.
"""

import os
import signal
import time
from io import BytesIO
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer


class Killer(Callback):
    """Sends the signals."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        save = torch.save

        def save_half(content: Any, file: Any, *arguments: Any, **more: Any) -> None:
            if is_time("checkpoint", trainer) and "ckpt" in file.name:
                buffer = BytesIO()
                save(content, buffer)
                file.write(buffer.getvalue()[: buffer.tell() // 2])
                file.flush()
                kill()
            save(content, file, *arguments, **more)

        if os.environ.get("KILL", "").startswith("checkpoint"):
            torch.save = save_half  # type: ignore[assignment]

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Any) -> None:
        if is_time("step", trainer):
            kill()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if is_time("epoch", trainer):
            kill()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if is_time("end", trainer):
            kill()

    def on_validation_batch_start(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        if is_time("validation", trainer):
            kill()


def is_time(moment: str, trainer: Trainer) -> bool:
    this_rank = os.environ.get("KILL_RANK") in (None, str(trainer.global_rank))
    return this_rank and os.environ.get("KILL") == f"{moment} {trainer.global_step}"


def kill() -> None:
    time.sleep(float(os.environ.get("KILL_AFTER", "0")))
    for name in os.environ.get("KILL_BY", "SIGKILL").split():
        os.kill(os.getpid(), getattr(signal, name))
