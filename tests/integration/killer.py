"""Dies like a laptop whose battery ends. Not a test; the command line adds it as a callback."""

import os
import signal
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer


class Killer(Callback):
    """Sends SIGKILL to its own process before an optimizer moves, once `$KILL_AT_STEP` steps are counted."""

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Any) -> None:
        if os.environ.get("KILL_AT_STEP") == str(trainer.global_step):
            os.kill(os.getpid(), signal.SIGKILL)
