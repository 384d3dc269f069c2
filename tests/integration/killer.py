"""Dies like a laptop whose battery ends, or is asked to stop. Not a test; the command line adds it as a callback.

`$KILL` says when, by a moment and the batches trained by then, such as "step 18":

    step         an optimizer is about to move
    epoch        the last batch of an epoch is over
    validation   a validation has begun
    checkpoint   half of a checkpoint is on the disk

`$KILL_BY` says how, by the signals that the process sends itself: "SIGKILL" unless told otherwise. `$KILL_AFTER` lets
seconds pass before, none unless told otherwise. `$KILL_RANK` says which of many processes dies, all unless told
otherwise.
"""

import os
import signal
import time
from io import BufferedWriter, BytesIO
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer


class Killer(Callback):
    """Sends the signals when it is time."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        whole = torch.save

        def half(content: Any, file: BufferedWriter, *arguments: Any, **more: Any) -> None:
            if is_time("checkpoint", trainer) and "ckpt" in file.name:
                buffer = BytesIO()
                whole(content, buffer)
                file.write(buffer.getvalue()[: buffer.tell() // 2])
                file.flush()
                kill()
            whole(content, file, *arguments, **more)

        torch.save = half  # type: ignore[assignment]

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Any) -> None:
        self._at("step", trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._at("epoch", trainer)

    def on_validation_batch_start(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        self._at("validation", trainer)

    def _at(self, moment: str, trainer: Trainer) -> None:
        if is_time(moment, trainer):
            kill()


def is_time(moment: str, trainer: Trainer) -> bool:
    if os.environ.get("KILL_RANK") not in (None, str(trainer.global_rank)):
        return False
    return os.environ.get("KILL") == f"{moment} {trainer.global_step}"


def kill() -> None:
    time.sleep(float(os.environ.get("KILL_AFTER", "0")))
    for name in os.environ.get("KILL_BY", "SIGKILL").split():
        os.kill(os.getpid(), getattr(signal, name))
