"""The base of the sequence tasks: random sequences of symbols, with a target at each step where something is asked."""

from abc import abstractmethod
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from common.targets import UNASKED
from datamodules.resumable import EvaluationBatches, count_batches, philox
from datamodules.tasks import TaskDataModule

Rows = Int[np.ndarray, "rows steps"]
"""Symbols or targets of several sequences."""


class SequenceBatch(NamedTuple):
    """Symbols, numbers from 0, and targets, symbols or `UNASKED`, both int64. A test names what it tests."""

    symbols: Int[Tensor, "steps batch"]
    targets: Int[Tensor, "steps batch"]
    name: str = ""


class SequenceDataModule(TaskDataModule[SequenceBatch]):
    """Random sequences of a task. Every batch is drawn anew from (seed, split, batch number, length).

    A subclass is a task: it defines `symbol_names`, `least_length`, `cases`, `draw` and `targets`.
    """

    @abstractmethod
    def draw(self, random: np.random.Generator, rows: int, length: int, case: str = "") -> Rows:
        """Returns the symbols of sequences.

        Args:
            random: where all random numbers come from.
            rows: number of sequences.
            length: steps of each.
            case: one of `cases`; by default sequences as in training.
        """

    @abstractmethod
    def targets(self, symbols: Rows) -> Rows:
        """Returns the right answer at each step, `UNASKED` where nothing is asked or no answer is right.

        Args:
            symbols: of any sequences, also such as `draw` never returns.
        """

    def test_dataloader(self) -> list[EvaluationBatches[SequenceBatch]]:
        """For each length a loader of sequences as in training and one for each of `cases`."""
        batches = count_batches(self.test_size, self.batch_size)
        return [
            EvaluationBatches(partial(self.test_batch, length=length, case=case), batches)
            for length in self.test_lengths or [self.length]
            for case in ("", *self.cases)
        ]

    def test_batch(self, k: int, length: int, case: str = "") -> SequenceBatch:
        batch = super().test_batch(k, length, case)
        return batch._replace(name=f"T={length}/{case}" if case else f"T={length}")

    def make_batch(self, split: str, k: int, *, rows: int, length: int, case: str = "") -> SequenceBatch:
        # In NumPy, because torch would wake its threads for this, which takes longer than the work.
        drawn = self.draw(philox(self.seed, type(self).__name__, split, case, k, length), rows, length, case)
        symbols, targets = (self.shard(torch.from_numpy(part)).T for part in (drawn, self.targets(drawn)))
        return SequenceBatch(symbols, targets)


def unasked(rows: int, length: int) -> Rows:
    """Returns targets of sequences where nothing is asked."""
    return np.full((rows, length), UNASKED)
