"""Growing length: short palindromes first, longer ones as soon as the short ones are easy."""

import math
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

STATE = ("length", "perfect_in_a_row", "batches_since_growth")


class LengthCurriculum(Callback):
    """Multiplies the length of the training palindromes each time a number of batches in a row is perfect.

    It ends at the datamodule's `length`. Works with a datamodule that has `length` and a `train_length` that can be
    set, and a module whose `training_step` returns the batch's `accuracy` in [0, 1]. With several processes, a batch is
    perfect if it is perfect on all of them. The length and the counts are kept in the checkpoint; `train/length` is
    logged.

    Args:
        start: length of the first palindromes, in digits.
        factor: what the length is multiplied by.
        least_growth: the least number of digits by which it grows.
        perfect_batches: how many batches in a row must be perfect.
        patience: batches without growth after which training stops; null never stops it.

    Raises:
        ValueError: if `start` is below 2, `factor` is not above 1, or another number is below 1; when training starts,
            if `start` exceeds the datamodule's length, or there is no such datamodule.
    """

    def __init__(
        self,
        start: int = 5,
        factor: float = 1.5,
        least_growth: int = 1,
        perfect_batches: int = 10,
        patience: int | None = None,
    ) -> None:
        if start < 2:
            raise ValueError(f"the curriculum's start is {start}; a palindrome has at least 2 digits")
        if not 1 < factor < math.inf:
            raise ValueError(f"the curriculum's factor is {factor}; write a number above 1, such as 1.5")
        counts = {"least_growth": least_growth, "perfect_batches": perfect_batches, "patience": patience}
        for name, count in counts.items():
            if count is not None and count < 1:
                raise ValueError(f"the curriculum's {name} is {count}; write 1 or more")
        self.factor = factor
        self.least_growth = least_growth
        self.perfect_batches = perfect_batches
        self.patience = patience or math.inf
        self.length = self.start = start
        self.perfect_in_a_row = 0
        self.batches_since_growth = 0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        data: Any = getattr(trainer, "datamodule", None)
        if not hasattr(data, "train_length"):
            raise ValueError("LengthCurriculum needs a datamodule whose train_length it can set")
        if self.start > data.length:
            raise ValueError(f"the curriculum starts at length {self.start}, above its target {data.length}")
        self.data = data

    @property
    def gave_up(self) -> bool:
        """Whether `patience` batches have passed without growth."""
        return self.length < self.data.length and self.batches_since_growth >= self.patience

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.data.train_length = self.length
        trainer.should_stop |= self.gave_up  # a run that was killed between its last batch and its end

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        pl_module.log("train/length", float(self.length), prog_bar=True)
        self.batches_since_growth += 1
        perfect = trainer.strategy.reduce_boolean_decision(bool(outputs["accuracy"] == 1))
        self.perfect_in_a_row = self.perfect_in_a_row + 1 if perfect else 0
        if self.length < self.data.length and self.perfect_in_a_row == self.perfect_batches:
            self.length = min(self.data.length, max(self.length + self.least_growth, int(self.length * self.factor)))
            self.perfect_in_a_row = self.batches_since_growth = 0
            self.data.train_length = self.length
        trainer.should_stop |= self.gave_up

    def state_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in STATE}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for name in STATE:
            setattr(self, name, state_dict[name])
