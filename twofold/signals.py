"""Ctrl-C, SIGTERM and SLURM's signal end a run between two batches, after a checkpoint."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from types import FrameType
from typing import Any

import torch
from lightning.fabric.plugins.environments import SLURMEnvironment
from lightning.pytorch import Callback, LightningModule, Trainer

from callbacks import Checkpoints
from callbacks.batches import batches_trained
from twofold.errors import Stopped
from twofold.listing import resume_command
from twofold.ranks import is_rank_zero
from twofold.run_folder import RunFolder

REQUEUE = getattr(signal, "SIGUSR1", None)  # Windows has none


class StopOnSignal(Callback):
    """Saves a checkpoint after the batch in which a signal arrives, and raises `Stopped`.

    The signals are SIGINT (Ctrl-C), SIGTERM and, under SLURM, SIGUSR1, which `#SBATCH --signal=SIGUSR1@90` sends 90
    seconds before the time limit, and after which the job is requeued. A second Ctrl-C or SIGTERM ends the process at
    once. With several processes a signal to one of them stops all after the same batch. A signal after the last batch
    doesn't stop the evaluation at the end, which completes the run; for that, this callback comes before those that
    evaluate. Lightning's own handlers are replaced: they would communicate within the handler, and save between D's
    and G's step.

    Args:
        folder: the run's, for the message of `Stopped`; None on a rank that prints nothing.
    """

    def __init__(self, folder: RunFolder | None) -> None:
        self.folder = folder
        self._received = 0
        self._stopping = 0
        self._is_trained = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._checkpoints = next((one for one in trainer.checkpoint_callbacks if isinstance(one, Checkpoints)), None)
        for number in (signal.SIGINT, signal.SIGTERM, *([REQUEUE] if REQUEUE and SLURMEnvironment.detect() else [])):
            signal.signal(number, self._receive)  # Lightning restores the previous ones after training

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self._received = number
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        # print() isn't reentrant, and the signal may arrive while something else is printed.
        if is_rank_zero():
            when = b"when the last evaluation is done" if self._is_trained else b"after this batch"
            with suppress(BrokenPipeError):
                os.write(2, b"\ntwofold: stopping " + when + b"; Ctrl-C ends it at once\n")

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._stopping = self._received
        if trainer.world_size > 1:
            number = torch.tensor(self._received, device=trainer.strategy.root_device)
            self._stopping = int(trainer.strategy.reduce(number, reduce_op="max"))
        if self._stopping and self._checkpoints is not None:
            self._checkpoints.ask()  # Lightning calls checkpoint callbacks last, so it saves in this hook

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._is_trained = True

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if not self._stopping:
            return
        if self._checkpoints is not None:
            self._checkpoints.publish(trainer)
        if self._stopping == REQUEUE and trainer.is_global_zero:
            _requeue()
        name = signal.Signals(self._stopping).name
        batches, resume = batches_trained(trainer), resume_command(self.folder) if self.folder is not None else ""
        raise Stopped(self._stopping, f"stopped by {name} after {batches:,} batches; resume with: {resume}")


def stop_on_sigterm(number: int, frame: FrameType | None) -> None:
    """Handles SIGTERM before the first batch and after the last one."""
    raise Stopped(number, "stopped by SIGTERM")


def _requeue() -> None:
    """Asks SLURM to start this job again."""
    job = os.environ["SLURM_JOB_ID"]
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        job = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    try:
        subprocess.run(["scontrol", "requeue", job], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"twofold: the job could not be requeued: {error}", file=sys.stderr)
