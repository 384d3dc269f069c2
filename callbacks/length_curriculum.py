"""Growing length: short sequences first, longer ones as soon as the short ones are easy."""

from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer

from callbacks.perfect_batches import PerfectBatches
from common.arguments import check_positive


class LengthCurriculum(PerfectBatches):
    """Multiplies the length of the training sequences each time a number of batches in a row is perfect.

    It ends at the datamodule's `length`. Works with a datamodule that has `length` and a `train_length` that can be
    set, and a module whose `training_step` returns the batch's `accuracy` in [0, 1]. With several processes, a batch is
    perfect if it is perfect on all of them. The length and the count are kept in the checkpoint; `train/length` is
    logged. An accelerator is asked after each tenth batch only, so there the length grows after these.

    Args:
        start: length of the first sequences.
        factor: what the length is multiplied by.
        least_growth: the least number of steps by which it grows.
        perfect_batches: how many batches in a row must be perfect.

    Raises:
        ValueError: if `factor` is not above 1, or another number is below 1; when training starts, if `start` is not
            between the task's least length and the datamodule's length, or there is no such datamodule; after the first
            batch, if `training_step` returns no `accuracy`.
    """

    def __init__(self, start: int = 5, factor: float = 1.5, least_growth: int = 1, perfect_batches: int = 10) -> None:
        if not 1 < factor < float("inf"):
            raise ValueError(f"the curriculum's factor is {factor}; write a number above 1, such as 1.5")
        check_positive(least_growth=least_growth)
        super().__init__(perfect_batches)
        self.factor = factor
        self.least_growth = least_growth
        self.length = self.start = start

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        data: Any = getattr(trainer, "datamodule", None)
        if not (hasattr(data, "train_length") and hasattr(data, "length")):
            raise ValueError("LengthCurriculum needs a datamodule with a length, whose train_length it can set")
        least = getattr(data, "least_length", 1)
        if not least <= self.start <= data.length:
            raise ValueError(f"LengthCurriculum's start is {self.start}; write a length from {least} to {data.length}")
        self.data = data
        data.train_length = self.length

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # A tensor: Lightning would copy a number to the device, and wait for it.
        pl_module.log("train/length", torch.tensor(float(self.length)), prog_bar=True)
        self.count(trainer, outputs)
        if self.length < self.data.length and self.found_solved(trainer):
            self.length = min(self.data.length, max(self.length + self.least_growth, int(self.length * self.factor)))
            self.perfect_in_a_row = 0
            self.data.train_length = self.length

    def state_dict(self) -> dict[str, Any]:
        return {"length": self.length, **super().state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self.length = state_dict["length"]
