"""Training ends when there is nothing left to learn."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from callbacks.batches import batches_trained
from callbacks.logging import log_numbers
from common.arguments import check_positive


class StopWhenSolved(Callback):
    """Ends training after a number of batches in a row without an error.

    Batches that a `LengthCurriculum` makes shorter than the datamodule's `length` don't count. Works with a module
    whose `training_step` returns the batch's `accuracy` in [0, 1]. With several processes, a batch counts if it is
    perfect on all of them. The count is kept in the checkpoint. At the end of a solved run,
    `final/batches_until_solved` is logged.

    Args:
        perfect_batches: how many batches in a row must be perfect.

    Raises:
        ValueError: if `perfect_batches` is below 1; after the first batch, if `training_step` returns no `accuracy`.
    """

    def __init__(self, perfect_batches: int = 10) -> None:
        check_positive(perfect_batches=perfect_batches)
        self.perfect_batches = perfect_batches
        self.perfect_in_a_row = 0

    @property
    def solved(self) -> bool:
        return self.perfect_in_a_row >= self.perfect_batches

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        trainer.should_stop |= self.solved  # a run that was killed between its last batch and its end

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        # Before the batch: after it, a curriculum may have set the length of the next one.
        data: Any = getattr(trainer, "datamodule", None)
        self._at_full_length = getattr(data, "train_length", None) == getattr(data, "length", None)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if "accuracy" not in outputs:
            raise ValueError("StopWhenSolved needs the accuracy of each batch, which this module doesn't return")
        perfect = trainer.strategy.reduce_boolean_decision(bool(outputs["accuracy"] == 1))
        self.perfect_in_a_row = self.perfect_in_a_row + 1 if perfect and self._at_full_length else 0
        trainer.should_stop |= self.solved

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.solved:
            # At the step after the last batch's: if the run is extended, this row is dropped.
            batches = batches_trained(trainer)
            log_numbers(trainer, {"final/batches_until_solved": float(batches)}, batches)

    def state_dict(self) -> dict[str, Any]:
        return {"perfect_in_a_row": self.perfect_in_a_row}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.perfect_in_a_row = state_dict["perfect_in_a_row"]
