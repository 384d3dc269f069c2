"""Palindromes: read all digits but the last, and name the last. It is the first one that was read.

    position   1  2  3  4  5  6  7
    digits     4  0  7  9  7  0
    target                       4       length T = 7, so ⌈T/2⌉ = 4 digits are free and 10⁴ palindromes exist

The network has to carry one digit over T−2 others that don't matter to it, which makes T the knob for how long a memory
must last.
"""

import math
from collections.abc import Callable
from functools import lru_cache, partial
from random import Random
from typing import Literal, NamedTuple, Protocol

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from datamodules.reproducible import ReproducibleDataModule
from datamodules.streams import BatchStream, EvaluationBatches, count_batches, in_order, philox, shuffled
from networks.seeding import derive

Split = Literal["train", "validation", "test"]


class PalindromeBatch(NamedTuple):
    """`digits`: the first T−1 digits of each palindrome, 0 to 9, int64; `target`: the last one, 0 to 9, int64."""

    digits: Int[Tensor, "batch steps"]
    target: Int[Tensor, " batch"]


class PalindromeDataModule(ReproducibleDataModule):
    """Palindromes of `length` digits, either a new batch each time or a fixed set of them.

    Args:
        length: T, the number of digits of a palindrome with the one to be named; 2 or more.
        batch_size: palindromes per batch, over all devices together.
        kind: `fresh` draws every batch anew, `fixed` draws `size` distinct palindromes once and splits them.
        batches_per_epoch: of `fresh` palindromes, for training.
        validation_batches: of `fresh` palindromes; as many again for the test.
        size: how many `fixed` palindromes to draw; at most the 10^⌈T/2⌉ that exist.
        splits: the fractions of the `fixed` palindromes that train, validate and test.

    Raises:
        ValueError: when an argument is out of range, doesn't go with `kind`, or leaves a split without palindromes.
    """

    def __init__(
        self,
        length: int,
        batch_size: int = 128,
        kind: Literal["fresh", "fixed"] = "fresh",
        batches_per_epoch: int = 50,
        validation_batches: int = 4,
        size: int | None = None,
        splits: tuple[float, float, float] = (0.8, 0.1, 0.1),
    ) -> None:
        super().__init__()
        _refuse_length_below_two("length", length)
        for name, number in (
            ("batch_size", batch_size),
            ("batches_per_epoch", batches_per_epoch),
            ("validation_batches", validation_batches),
        ):
            if number < 1:
                raise ValueError(f"{name} is {number}; write a positive number")
        self.length = length
        self.palindromes: Palindromes
        if kind == "fresh":
            if size is not None:
                raise ValueError(
                    f"size is {size}, but fresh palindromes never run out; leave size out or write kind: fixed"
                )
            self.palindromes = FreshPalindromes(length, batch_size, batches_per_epoch, validation_batches)
        elif kind == "fixed":
            if size is None:
                raise ValueError("fixed palindromes need a size; write how many to draw, such as size: 1000")
            self.palindromes = FixedPalindromes(length, batch_size, size, splits)
        else:
            raise ValueError(f"kind is '{kind}'; write fresh or fixed")

    @property
    def train_length(self) -> int:
        """The length of the next training batch: `length`, until a curriculum sets another. Evaluation keeps `length`.

        Raises:
            ValueError: when it is set below 2, or to anything but `length` for fixed palindromes.
        """
        return self.palindromes.train_length

    @train_length.setter
    def train_length(self, length: int) -> None:
        self.palindromes.train_length = length

    def train_dataloader(self) -> BatchStream[PalindromeBatch]:
        return self.train_stream(self._shared(self.palindromes.train_batch), self.palindromes.batches("train"))

    def val_dataloader(self) -> EvaluationBatches[PalindromeBatch]:
        return self._evaluation("validation", self.palindromes.batches("validation"))

    def test_dataloader(self) -> EvaluationBatches[PalindromeBatch]:
        return self._evaluation("test", self.palindromes.batches("test"))

    def predict_dataloader(self) -> EvaluationBatches[PalindromeBatch]:
        """The first batch of the test."""
        return self._evaluation("test", 1)

    def _evaluation(self, split: Split, number_of_batches: int) -> EvaluationBatches[PalindromeBatch]:
        return EvaluationBatches(self._shared(partial(self.palindromes.evaluation_batch, split)), number_of_batches)

    def _shared(self, draw: Callable[[int, int], PalindromeBatch]) -> Callable[[int], PalindromeBatch]:
        """Batch k of this rank, from `draw(seed, k)` which gives that of all ranks."""
        return lambda k: PalindromeBatch(*map(self.of_this_rank, draw(self.seed, k)))


class Palindromes(Protocol):
    """What the datamodule asks of either kind. Batches are those of all ranks together."""

    train_length: int

    def batches(self, split: Split) -> int: ...

    def train_batch(self, seed: int, k: int) -> PalindromeBatch: ...

    def evaluation_batch(self, split: Split, seed: int, k: int) -> PalindromeBatch: ...


class FreshPalindromes:
    """Every batch is drawn anew from a random stream that belongs to (seed, split, k, length) alone."""

    def __init__(self, length: int, batch_size: int, batches_per_epoch: int, validation_batches: int) -> None:
        self.length = length
        self.batch_size = batch_size
        self._train_length = length
        self._batches: dict[Split, int] = {
            "train": batches_per_epoch,
            "validation": validation_batches,
            "test": validation_batches,
        }

    @property
    def train_length(self) -> int:
        return self._train_length

    @train_length.setter
    def train_length(self, length: int) -> None:
        _refuse_length_below_two("train_length", length)
        self._train_length = length

    def batches(self, split: Split) -> int:
        return self._batches[split]

    def train_batch(self, seed: int, k: int) -> PalindromeBatch:
        return self._draw("train", seed, k, self.train_length)

    def evaluation_batch(self, split: Split, seed: int, k: int) -> PalindromeBatch:
        return self._draw(split, seed, k, self.length)

    def _draw(self, split: Split, seed: int, k: int, length: int) -> PalindromeBatch:
        random = philox(seed, "fresh palindromes", split, k, length)
        return mirror(random.integers(0, 10, (self.batch_size, _half(length))), length)


class FixedPalindromes:
    """`size` distinct palindromes, split into three parts that share none; each training epoch shuffles its part."""

    def __init__(self, length: int, batch_size: int, size: int, splits: tuple[float, float, float]) -> None:
        if size > 10 ** _half(length):
            raise ValueError(
                f"size is {size}, but only {10 ** _half(length)} palindromes of length {length} exist; "
                "write a smaller size or a greater length"
            )
        if len(splits) != 3 or min(splits) < 0 or not math.isclose(sum(splits), 1):
            raise ValueError(f"splits is {splits}; write three fractions that sum to 1, such as [0.8, 0.1, 0.1]")
        test = size - round(size * splits[2])
        validation = test - round(size * splits[1])
        self.rows: dict[Split, range] = {
            "train": range(validation),
            "validation": range(validation, test),
            "test": range(test, size),
        }
        for split, rows in self.rows.items():
            if not rows:
                raise ValueError(
                    f"size {size} with splits {splits} leaves none to {split}; write a greater size or fraction"
                )
        self.length = length
        self.batch_size = batch_size
        self.size = size

    @property
    def train_length(self) -> int:
        return self.length

    @train_length.setter
    def train_length(self, length: int) -> None:
        if length != self.length:
            raise ValueError(
                f"fixed palindromes have length {self.length} and can't be had at length {length}; "
                "write kind: fresh to let the length grow"
            )

    def batches(self, split: Split) -> int:
        return count_batches(len(self.rows[split]), self.batch_size)

    def train_batch(self, seed: int, k: int) -> PalindromeBatch:
        return self._take("train", seed, shuffled(len(self.rows["train"]), self.batch_size, seed, k))

    def evaluation_batch(self, split: Split, seed: int, k: int) -> PalindromeBatch:
        return self._take(split, seed, in_order(len(self.rows[split]), self.batch_size, k))

    def _take(self, split: Split, seed: int, rows: Int[Tensor, " batch"]) -> PalindromeBatch:
        halves = draw_distinct(self.size, _half(self.length), seed)
        return mirror(halves[self.rows[split].start + rows.numpy()].astype(np.int64), self.length)


def mirror(first_half: Int[np.ndarray, "batch half"], length: int) -> PalindromeBatch:
    """The palindromes of `length` that begin with these ⌈length/2⌉ digits; an odd length has one in the middle."""
    # In NumPy, because torch would wake its threads for this, which takes longer than the work.
    last_half = first_half[:, : length // 2][:, ::-1]
    digits = np.concatenate([first_half, last_half[:, :-1]], axis=1)
    return PalindromeBatch(torch.from_numpy(digits), torch.from_numpy(last_half[:, -1].copy()))


@lru_cache(maxsize=4)
def draw_distinct(size: int, half: int, seed: int) -> UInt8[np.ndarray, "size half"]:
    """First halves of `size` palindromes, no two alike, in random order."""
    # Distinct beginnings make distinct palindromes, however the digits go on. 18 digits still fit into an int64.
    drawn = min(half, 18)
    numbers = np.array(Random(derive(seed, "fixed palindromes")).sample(range(10**drawn), size))
    beginnings = numbers[:, None] // 10 ** np.arange(drawn)[::-1] % 10
    others = philox(seed, "fixed palindromes").integers(0, 10, (size, half - drawn))
    return np.concatenate([beginnings, others], axis=1).astype(np.uint8)


def _half(length: int) -> int:
    """⌈length/2⌉, the number of digits that make a palindrome."""
    return (length + 1) // 2


def _refuse_length_below_two(name: str, length: int) -> None:
    if length < 2:
        raise ValueError(f"{name} is {length}; write 2 or more, one digit to read and one to name")
