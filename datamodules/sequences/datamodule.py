"""The base of the sequence tasks: random sequences of symbols, with a target at each step where something is asked."""

from abc import abstractmethod
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from common.arguments import check_positive
from datamodules.resumable import BatchStream, EvaluationBatches, ResumableDataModule, count_batches, philox

UNASKED = -100
"""The target at a step where nothing is asked; `torch.nn.functional.cross_entropy` ignores it."""

Rows = Int[np.ndarray, "rows steps"]
"""Symbols or targets of several sequences."""


class SequenceBatch(NamedTuple):
    """Symbols, numbers from 0, and targets, symbols or `UNASKED`, both int64. A test names what it tests."""

    symbols: Int[Tensor, "steps batch"]
    targets: Int[Tensor, "steps batch"]
    name: str = ""


class SequenceDataModule(ResumableDataModule):
    """Random sequences of a task. Every batch is drawn anew from (seed, split, batch number, length).

    A subclass is a task: it defines `symbol_names`, `least_length`, `cases`, `draw` and `targets`.

    Args:
        length: T, the steps of a sequence.
        shortest: training lengths are drawn uniformly from `shortest` to T, one for each batch; by default all are T.
        batch_size: sequences per batch, over all devices together.
        batches_per_epoch: training batches per epoch.
        validation_batches: batches per validation.
        test_lengths: lengths to test at; by default T.
        test_size: sequences to test with at each length, and for each of the worst cases.

    Raises:
        ValueError: when an argument is out of range.
    """

    least_length: int
    """The shortest sequence that asks something."""
    cases: tuple[str, ...] = ()
    """The names of sequences that are harder, or rarer, than those to train on. Tests report them separately."""

    def __init__(
        self,
        length: int,
        shortest: int | None = None,
        batch_size: int = 64,
        batches_per_epoch: int = 100,
        validation_batches: int = 4,
        test_lengths: list[int] | None = None,
        test_size: int = 1000,
    ) -> None:
        super().__init__()
        check_positive(batch_size=batch_size, batches_per_epoch=batches_per_epoch)
        check_positive(validation_batches=validation_batches, test_size=test_size)
        self._check_length("length", length)
        for each in test_lengths or ():
            self._check_length("a length in test_lengths", each)
        if test_lengths is not None and len(set(test_lengths)) < max(len(test_lengths), 1):
            raise ValueError(f"test_lengths is {test_lengths}; write one length or more, each once")
        if shortest is not None:
            self._check_length("shortest", shortest)
            if shortest > length:
                raise ValueError(f"shortest is {shortest}, above the length {length}; write at most {length}")
        self.length = self._train_length = length
        self.shortest = shortest
        self.batch_size = batch_size
        self.batches_per_epoch = batches_per_epoch
        self.validation_batches = validation_batches
        self.test_lengths = test_lengths
        self.test_size = test_size

    @property
    @abstractmethod
    def symbol_names(self) -> list[str]:
        """The name of each symbol, without spaces."""

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

    @property
    def train_length(self) -> int:
        """The length of the next training batch, or the highest if they are drawn; `length` until a curriculum sets it.

        Raises:
            ValueError: when it is set below `least_length`.
        """
        return self._train_length

    @train_length.setter
    def train_length(self, length: int) -> None:
        self._check_length("train_length", length)
        self._train_length = length

    def train_dataloader(self) -> BatchStream[SequenceBatch]:
        return self.train_stream(self._train_batch, self.batches_per_epoch)

    def val_dataloader(self) -> EvaluationBatches[SequenceBatch]:
        make_batch = partial(self._batch, "validation", rows=self.batch_size, length=self.length)
        return EvaluationBatches(make_batch, self.validation_batches)

    def test_dataloader(self) -> list[EvaluationBatches[SequenceBatch]]:
        """For each length a loader of sequences as in training and one for each of `cases`."""
        batches = count_batches(self.test_size, self.batch_size)
        return [
            EvaluationBatches(partial(self.test_batch, length=length, case=case), batches)
            for length in self.test_lengths or [self.length]
            for case in ("", *self.cases)
        ]

    def predict_dataloader(self) -> EvaluationBatches[SequenceBatch]:
        """The first batch of the test."""
        return EvaluationBatches(partial(self.test_batch, length=self.length), 1)

    def test_batch(self, k: int, length: int, case: str = "") -> SequenceBatch:
        """Batch k of the test at a length, of one of `cases` or as in training."""
        rows = min(self.batch_size, self.test_size - k * self.batch_size)
        batch = self._batch("test", k, rows=rows, length=length, case=case)
        return batch._replace(name=f"T={length}/{case}" if case else f"T={length}")

    def _train_batch(self, k: int) -> SequenceBatch:
        length = self.train_length
        if self.shortest is not None and self.shortest < length:
            length = int(philox(self.seed, "training length", k).integers(self.shortest, length + 1))
        return self._batch("train", k, rows=self.batch_size, length=length)

    def _batch(self, split: str, k: int, *, rows: int, length: int, case: str = "") -> SequenceBatch:
        """This rank's rows of batch k."""
        # In NumPy, because torch would wake its threads for this, which takes longer than the work.
        drawn = self.draw(philox(self.seed, type(self).__name__, split, case, k, length), rows, length, case)
        symbols, targets = (self.shard(torch.from_numpy(part)).T for part in (drawn, self.targets(drawn)))
        return SequenceBatch(symbols, targets)

    def _check_length(self, name: str, length: int) -> None:
        if length < self.least_length:
            raise ValueError(f"{name} is {length}, too short for this task; write {self.least_length} or more")


def unasked(rows: int, length: int) -> Rows:
    """Returns targets of sequences where nothing is asked."""
    return np.full((rows, length), UNASKED)
