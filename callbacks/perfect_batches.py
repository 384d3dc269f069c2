"""What the callbacks share that act after a number of batches in a row without an error."""

from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor

from callbacks.batches import batches_trained
from common.arguments import check_positive


class PerfectBatches(Callback):
    """Counts how many batches in a row are perfect: `training_step` returns an `accuracy` of 1 for them.

    The count stays on the device. What it amounts to is read after the batches that `read_interval` says. With several
    processes, a batch is perfect if it is perfect on all of them. The count is kept in the checkpoint.

    Args:
        perfect_batches: how many batches in a row must be perfect.

    Raises:
        ValueError: if `perfect_batches` is below 1.
    """

    def __init__(self, perfect_batches: int = 10) -> None:
        check_positive(perfect_batches=perfect_batches)
        self.perfect_batches = perfect_batches
        self.perfect_in_a_row: Tensor | int = 0

    def count(self, trainer: Trainer, outputs: Any) -> None:
        """Counts the batch just trained.

        Raises:
            ValueError: if `training_step` returns no `accuracy`.
        """
        if "accuracy" not in (outputs or ()):
            name = type(self).__name__
            raise ValueError(f"{name} needs the accuracy of each batch, which this module doesn't return")
        accuracy = torch.as_tensor(outputs["accuracy"], device=trainer.strategy.root_device)
        perfect = trainer.strategy.reduce((accuracy == 1).long(), reduce_op="min")
        self.perfect_in_a_row = (self.perfect_in_a_row + 1) * perfect

    @property
    def solved(self) -> bool:
        """Whether enough batches in a row are perfect; waits for the device."""
        return int(self.perfect_in_a_row) >= self.perfect_batches

    def found_solved(self, trainer: Trainer) -> bool:
        """Returns `solved` after a batch that `read_interval` says, and False after others."""
        return batches_trained(trainer) % read_interval(trainer.strategy.root_device) == 0 and self.solved

    def state_dict(self) -> dict[str, Any]:
        return {"perfect_in_a_row": int(self.perfect_in_a_row)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.perfect_in_a_row = state_dict["perfect_in_a_row"]


def read_interval(device: torch.device) -> int:
    """Returns after every how many batches of a run numbers are read: 10 on an accelerator, where reading waits for it.

    Counted from the first batch of the run, so that a resumed run reads after the same batches.
    """
    return 1 if device.type == "cpu" else 10
