"""Ctrl-C, SIGTERM and SLURM's signal end a run between two batches, with a checkpoint."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from lightning.fabric.plugins.environments import SLURMEnvironment
from lightning.pytorch import Callback, LightningModule, Trainer

from callbacks import Checkpoints
from common.sharding import Ranks
from twofold.errors import Stopped
from twofold.listing import resume_command
from twofold.run_folder import RunFolder

REQUEUE = signal.SIGUSR1


class StopOnSignal(Callback):
    """Saves a checkpoint after the batch in which a signal came, and raises `Stopped`, which says how to go on.

    Signals are SIGINT (Ctrl-C), SIGTERM and, under SLURM, SIGUSR1, which `#SBATCH --signal=SIGUSR1@90` sends 90 seconds
    before time is up, and upon which the job asks to be queued again. A second Ctrl-C or SIGTERM ends the process at
    once. Where many processes train together, a signal to one of them ends all, after the same batch.

    Args:
        folder: the run's.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self.received: int | None = None
        self._heeded: int | None = None
        """What was received by the end of the last batch, by any of the processes."""
        self._checkpoints: Checkpoints | None = None
        self._handlers_before: dict[int, Any] = {}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._trainer = trainer
        self._ranks = Ranks(trainer.global_rank, trainer.world_size)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._checkpoints = next((one for one in trainer.checkpoint_callbacks if isinstance(one, Checkpoints)), None)
        requeue = (REQUEUE,) if SLURMEnvironment.detect() else ()
        for number in (signal.SIGINT, signal.SIGTERM, *requeue):
            self._handlers_before[number] = signal.signal(number, self._receive)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received = number
        if self._ranks.count == 1:
            self._heed(number)
        for other in (signal.SIGINT, signal.SIGTERM):
            signal.signal(other, signal.SIG_DFL)
        # Not print, for the signal may have come while something else was being printed.
        is_over = self._trainer.global_step == self._trainer.max_steps
        when = (
            "training is over, so it ends when the last numbers are there" if is_over else "stopping after this batch"
        )
        if self._ranks.rank == 0:
            os.write(2, f"\ntwofold: {when}; Ctrl-C ends it at once\n".encode())

    def _heed(self, number: int) -> None:
        self._heeded = number
        if self._checkpoints is not None:
            self._checkpoints.ask()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # Before the checkpoints' own hook, for Lightning calls those last.
        if self._ranks.count > 1 and (number := self._ranks.highest(self.received or 0)):
            self._heed(number)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if self._heeded is None:
            return
        if self._checkpoints is not None:
            self._checkpoints.publish(trainer)
            if self._checkpoints.saved_at != trainer.global_step:
                return  # the signal came after the last chance to save, so it is the batch that begins now
        if self._heeded == REQUEUE and trainer.is_global_zero:
            _requeue()
        name = signal.Signals(self._heeded).name
        raise Stopped(
            self._heeded,
            f"stopped by {name} after {trainer.global_step:,} batches; go on with: {resume_command(self.folder)}",
        )

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._restore()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        if self._heeded is None:  # else a second one still ends the process at once, until Lightning is done
            self._restore()

    def _restore(self) -> None:
        while self._handlers_before:
            signal.signal(*self._handlers_before.popitem())


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Within, SIGTERM raises `Stopped` where nothing else waits for it: before the first batch and after the last."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Stopped(number, "stopped by SIGTERM")

    if threading.current_thread() is not threading.main_thread():  # which alone may ask for signals
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def no_signals(trainer: Trainer) -> None:
    """Keeps Lightning from waiting for signals: where there are many processes, its handler talks to the others.

    It would do so in the middle of what they are talking about at the moment.
    """
    trainer._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]


def _requeue() -> None:
    """Asks SLURM to start this job again when there is room."""
    job = os.environ["SLURM_JOB_ID"]
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        job = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    try:
        subprocess.run(["scontrol", "requeue", job], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"twofold: the job could not be queued again: {error}", file=sys.stderr)
