"""Training ends when there is nothing left to learn."""

from typing import Any

from lightning.pytorch import LightningModule, Trainer

from callbacks.batches import batches_trained
from callbacks.logging import log_numbers
from callbacks.perfect_batches import PerfectBatches


class StopWhenSolved(PerfectBatches):
    """Ends training after a number of batches in a row without an error.

    Batches that a `LengthCurriculum` makes shorter than the datamodule's `length` don't count. Works with a module
    whose `training_step` returns the batch's `accuracy` in [0, 1]. With several processes, a batch counts if it is
    perfect on all of them. The count is kept in the checkpoint. At the end of a solved run,
    `final/batches_until_solved` is logged. An accelerator is asked after each tenth batch only, so there a run may go
    on for up to nine batches more.

    Args:
        perfect_batches: how many batches in a row must be perfect.

    Raises:
        ValueError: if `perfect_batches` is below 1; after the first batch, if `training_step` returns no `accuracy`.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        trainer.should_stop |= self.found_solved(trainer)  # a run that was killed between its last batch and its end

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        # Before the batch: after it, a curriculum may have set the length of the next one.
        data: Any = getattr(trainer, "datamodule", None)
        self._at_full_length = getattr(data, "train_length", None) == getattr(data, "length", None)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.count(trainer, outputs)
        if not self._at_full_length:
            self.perfect_in_a_row = 0
        trainer.should_stop |= self.found_solved(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.solved:
            # At the step after the last batch's: if the run is extended, this row is dropped.
            batches = batches_trained(trainer)
            log_numbers(trainer, {"final/batches_until_solved": float(batches)}, batches)
