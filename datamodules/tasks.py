"""The base of palindromes and of the other sequence tasks: random sequences of a length that a curriculum can set."""

from abc import abstractmethod
from functools import partial
from typing import Generic

from common.arguments import check_positive
from datamodules.resumable import Batch, BatchStream, EvaluationBatches, ResumableDataModule, philox


class TaskDataModule(ResumableDataModule, Generic[Batch]):
    """Random sequences. Every batch is drawn anew from (seed, split, batch number, length).

    A subclass is a task: it defines `symbol_names`, `least_length`, `cases`, `make_batch` and `test_dataloader`.

    Args:
        length: T, of the sequences to validate and, without a curriculum, to train with.
        shortest: training lengths are drawn uniformly from `shortest` to T, one for each batch; by default all are T.
        batch_size: sequences per batch, over all devices together.
        batches_per_epoch: training batches per epoch.
        validation_batches: batches per validation.
        test_lengths: lengths to test at; by default T.
        test_size: sequences to test with at each length and, but for palindromes, for each of the worst cases.

    Raises:
        ValueError: when an argument is out of range.
    """

    least_length: int = 1
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
        self.check_length("length", length)
        for each in test_lengths or ():
            self.check_length("a length in test_lengths", each)
        if test_lengths is not None and len(set(test_lengths)) < max(len(test_lengths), 1):
            raise ValueError(f"test_lengths is {test_lengths}; write one length or more, each once")
        if shortest is not None:
            self.check_length("shortest", shortest)
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
    def make_batch(self, split: str, k: int, *, rows: int, length: int, case: str = "") -> Batch:
        """Returns this rank's rows of batch k of "train", "validation" or "test"."""

    @property
    def train_length(self) -> int:
        """The length of the next training batch, or the highest if they are drawn; `length` until a curriculum sets it.

        Raises:
            ValueError: when it is set below `least_length`.
        """
        return self._train_length

    @train_length.setter
    def train_length(self, length: int) -> None:
        self.check_length("train_length", length)
        self._train_length = length

    def train_dataloader(self) -> BatchStream[Batch]:
        return self.train_stream(self.train_batch, self.batches_per_epoch)

    def val_dataloader(self) -> EvaluationBatches[Batch]:
        make_batch = partial(self.make_batch, "validation", rows=self.batch_size, length=self.length)
        return EvaluationBatches(make_batch, self.validation_batches)

    def predict_dataloader(self) -> EvaluationBatches[Batch]:
        """The first batch of the test."""
        return EvaluationBatches(partial(self.test_batch, length=self.length), 1)

    def train_batch(self, k: int) -> Batch:
        """Batch k of the training."""
        length = self.train_length
        if self.shortest is not None and self.shortest < length:
            length = int(philox(self.seed, "training length", k).integers(self.shortest, length + 1))
        return self.make_batch("train", k, rows=self.batch_size, length=length)

    def test_batch(self, k: int, length: int, case: str = "") -> Batch:
        """Batch k of the test at a length, of one of `cases` or as in training."""
        rows = min(self.batch_size, self.test_size - k * self.batch_size)
        return self.make_batch("test", k, rows=rows, length=length, case=case)

    def check_length(self, name: str, length: int) -> None:
        """Raises ValueError for a length below `least_length`."""
        if length < self.least_length:
            raise ValueError(f"{name} is {length}, too short for this task; write {self.least_length} or more")
