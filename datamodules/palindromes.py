"""Palindromes: read all digits but the last, and name the last. It is the first one that was read.

    position   1  2  3  4  5  6  7
    digits     4  0  7  9  7  0
    target                       4       length T = 7, so ⌈T/2⌉ = 4 digits are free and 10⁴ palindromes exist

The network has to carry one digit over T−2 others that don't matter to it, which makes T the knob for how long a memory
must last. With `target: second_half` it has to carry all of them: it sees the first ⌈T/2⌉ digits and writes the rest.

    digits     4  0  7  9
    target                 7  0  4
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

from common.seeding import derive
from datamodules.base import ResumableDataModule
from datamodules.chunks import ChunkedPalindromes, PalindromeChunk
from datamodules.resumable import BatchStream, EvaluationBatches, count_batches, in_order, philox, shuffled

Split = Literal["train", "validation", "test"]
Target = Literal["last", "second_half"]
Answer = Callable[[Int[np.ndarray, "batch half"], int], "PalindromeBatch"]
"""Makes the batch from the first ⌈T/2⌉ digits of palindromes and T."""


class PalindromeBatch(NamedTuple):
    """What is read and what is to be answered, digits 0 to 9 as int64.

    For the last digit, `digits` is (batch, T−1) and `target` (batch,); for the second half, `digits` is (batch, ⌈T/2⌉)
    and `target` (batch, ⌊T/2⌋).
    """

    digits: Int[Tensor, "batch steps"]
    target: Int[Tensor, "batch ..."]


class PalindromeDataModule(ResumableDataModule):
    """Palindromes of `length` digits, either a new batch each time or a fixed set of them.

    Args:
        length: T, the number of digits of a whole palindrome; 2 or more.
        batch_size: palindromes per batch, over all devices together.
        target: what is to be answered, the `last` digit or the `second_half`.
        kind: `fresh` draws every batch anew, `fixed` draws `size` distinct palindromes once and splits them.
        batches_per_epoch: of `fresh` palindromes, for training.
        validation_batches: of `fresh` palindromes.
        test_lengths: lengths to test at, each on its own, for the `last` digit of `fresh` palindromes; `length` unless
            given. Above 4,096 digits they are read in chunks.
        test_size: how many `fresh` palindromes of each length to test with.
        size: how many `fixed` palindromes to draw; at most the 10^⌈T/2⌉ that exist.
        splits: the fractions of the `fixed` palindromes that train, validate and test.

    Raises:
        ValueError: when an argument is out of range, doesn't go with `kind`, or leaves a split without palindromes.
    """

    def __init__(
        self,
        length: int,
        batch_size: int = 128,
        target: Target = "last",
        kind: Literal["fresh", "fixed"] = "fresh",
        batches_per_epoch: int = 100,
        validation_batches: int = 4,
        test_lengths: list[int] | None = None,
        test_size: int = 1000,
        size: int | None = None,
        splits: tuple[float, float, float] = (0.8, 0.1, 0.1),
    ) -> None:
        super().__init__()
        _refuse_length_below_two("length", length)
        for name, number in (
            ("batch_size", batch_size),
            ("batches_per_epoch", batches_per_epoch),
            ("validation_batches", validation_batches),
            ("test_size", test_size),
        ):
            if number < 1:
                raise ValueError(f"{name} is {number}; write a positive number")
        if target not in ANSWERS:
            raise ValueError(f"target is '{target}'; write {' or '.join(ANSWERS)}")
        if test_lengths is not None:
            if kind != "fresh" or target != "last":
                raise ValueError("test_lengths are for the last digit of fresh palindromes; leave them out")
            if not test_lengths:
                raise ValueError("test_lengths is empty; write at least one length, or null for that of the training")
            if len(set(test_lengths)) < len(test_lengths):
                raise ValueError(f"test_lengths {test_lengths} names a length twice; write each once")
            for each in test_lengths:
                _refuse_length_below_two("a length in test_lengths", each)
        self.length = length
        self.batch_size = batch_size
        self.test_lengths = test_lengths
        self.test_size = test_size
        self.reads_in_chunks = kind == "fresh" and target == "last"
        self.palindromes: Palindromes
        if kind == "fresh":
            if size is not None:
                raise ValueError(
                    f"size is {size}, but fresh palindromes never run out; leave size out or write kind: fixed"
                )
            self.palindromes = FreshPalindromes(
                length, batch_size, ANSWERS[target], batches_per_epoch, validation_batches, test_size
            )
        elif kind == "fixed":
            if size is None:
                raise ValueError("fixed palindromes need a size; write how many to draw, such as size: 1000")
            self.palindromes = FixedPalindromes(length, batch_size, ANSWERS[target], size, splits)
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

    def test_dataloader(self) -> list[ChunkedPalindromes] | EvaluationBatches[PalindromeChunk]:
        """For the last digit of fresh palindromes one loader for each length."""
        if self.reads_in_chunks:
            lengths = self.test_lengths or [self.length]
            return [
                ChunkedPalindromes(T, self.test_size, self.batch_size, self.seed, self.of_this_rank) for T in lengths
            ]
        whole = self._evaluation("test", self.palindromes.batches("test"))
        return EvaluationBatches(lambda k: PalindromeChunk(*whole.make_batch(k), self.length), len(whole))

    def predict_dataloader(self) -> EvaluationBatches[PalindromeBatch]:
        """One batch that isn't trained on."""
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

    def __init__(
        self,
        length: int,
        batch_size: int,
        answer: Answer,
        batches_per_epoch: int,
        validation_batches: int,
        test_size: int,
    ) -> None:
        self.length = length
        self.batch_size = batch_size
        self.answer = answer
        self.test_size = test_size
        self._train_length = length
        self._batches: dict[Split, int] = {
            "train": batches_per_epoch,
            "validation": validation_batches,
            "test": count_batches(test_size, batch_size),
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
        return self._draw("train", seed, k, self.batch_size, self.train_length)

    def evaluation_batch(self, split: Split, seed: int, k: int) -> PalindromeBatch:
        left = self.test_size - k * self.batch_size if split == "test" else self.batch_size
        return self._draw(split, seed, k, min(self.batch_size, left), self.length)

    def _draw(self, split: Split, seed: int, k: int, rows: int, length: int) -> PalindromeBatch:
        random = philox(seed, "fresh palindromes", split, k, length)
        return self.answer(random.integers(0, 10, (rows, _half(length))), length)


class FixedPalindromes:
    """`size` distinct palindromes, split into three parts that share none; each training epoch shuffles its part."""

    def __init__(
        self, length: int, batch_size: int, answer: Answer, size: int, splits: tuple[float, float, float]
    ) -> None:
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
        self.answer = answer
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
        return self.answer(halves[self.rows[split].start + rows.numpy()].astype(np.int64), self.length)


def last_digit(first_half: Int[np.ndarray, "batch half"], length: int) -> PalindromeBatch:
    """Reads all digits but the last of the palindromes that begin with these ⌈length/2⌉; the answer is the last."""
    # In NumPy, because torch would wake its threads for this, which takes longer than the work.
    last_half = _mirrored(first_half, length)
    digits = np.concatenate([first_half, last_half[:, :-1]], axis=1)
    return PalindromeBatch(torch.from_numpy(digits), torch.from_numpy(last_half[:, -1].copy()))


def second_half(first_half: Int[np.ndarray, "batch half"], length: int) -> PalindromeBatch:
    """Reads these ⌈length/2⌉ digits; the answer are the ⌊length/2⌋ others of the palindromes."""
    return PalindromeBatch(torch.from_numpy(first_half), torch.from_numpy(_mirrored(first_half, length).copy()))


ANSWERS: dict[Target, Answer] = {"last": last_digit, "second_half": second_half}


def _mirrored(first_half: Int[np.ndarray, "batch half"], length: int) -> Int[np.ndarray, "batch rest"]:
    """The second half; the middle digit of an odd length belongs to the first."""
    return first_half[:, : length // 2][:, ::-1]


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
