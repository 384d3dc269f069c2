"""Callbacks that would make a resumed run another one, and those that a resume has to help."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import (
    BaseFinetuning,
    BatchSizeFinder,
    GradientAccumulationScheduler,
    LearningRateFinder,
    ModelPruning,
    StochasticWeightAveraging,
)

from twofold.errors import UsageError
from twofold.ranks import warn

REFUSED: dict[type[Callback], str] = {
    BatchSizeFinder: "write --data.batch_size",
    GradientAccumulationScheduler: "write a larger --data.batch_size",
    LearningRateFinder: "write the optimizer's lr",
    ModelPruning: "prune the trained network",
}
"""They change batches, learning rates or weights, and a checkpoint doesn't hold how. Each with what to do instead."""
INEXACT = (StochasticWeightAveraging, BaseFinetuning)
"""They go on from the end of an epoch only."""


class ResumeChecks(Callback):
    """Refuses callbacks after which a resumed run is another one, and makes `EarlyStopping` go on as it is configured.

    Args:
        resumes: whether the run goes on from a checkpoint.

    Raises:
        UsageError: for a callback of `REFUSED`, and when a callback sets `accumulate_grad_batches`.
    """

    def __init__(self, resumes: bool) -> None:
        self.resumes = resumes

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        # Here the Trainer also has the callbacks of the module's `configure_callbacks`.
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            name = type(callback).__name__
            for kind, instead in REFUSED.items():
                if isinstance(callback, kind):
                    raise UsageError(f"{name} makes a resumed run another one; leave it out and {instead}")
            if self.resumes and isinstance(callback, INEXACT):
                warn(f"{name} goes on exactly from the end of an epoch only: else the same bits are not promised")

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        for callback in trainer.early_stopping_callbacks:  # they would go on with the patience of the checkpoint
            checkpoint["callbacks"].get(callback.state_key, {})["patience"] = callback.patience

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # A run that was killed between its last batch and its end, or goes on with other callbacks.
        trainer.should_stop |= any(each.wait_count >= each.patience for each in trainer.early_stopping_callbacks)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.accumulate_grad_batches != 1:
            raise UsageError("a callback sets accumulate_grad_batches; write a larger --data.batch_size instead")
