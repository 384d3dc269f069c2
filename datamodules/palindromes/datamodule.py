"""Palindromes: read all digits but the last, and predict the last. It equals the first digit that was read.

    position   1  2  3  4  5  6  7
    digits     4  0  7  9  7  0
    target                       4       length T = 7: ⌈T/2⌉ = 4 digits are free, so 10⁴ palindromes exist

The network has to keep one digit over T−2 others that don't matter, so T sets how long its memory must last. With
`target: second_half` it has to keep all of them: it reads the first ⌈T/2⌉ digits and predicts the rest.

    digits     4  0  7  9
    target                 7  0  4
"""

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple, get_args

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from common.arguments import check_choice
from common.palindrome import ADVERSARY, DIGITS, Target
from datamodules.palindromes.chunks import AllPalindromes, ChunkedPalindromes, PalindromeChunk
from datamodules.palindromes.worst_cases import CASES, PAIRS
from datamodules.resumable import EvaluationBatches, count_batches, in_order, philox
from datamodules.tasks import TaskDataModule

LONGEST_ADVERSARY = 1000
"""Digits. An adversary calls the network for each digit that it picks."""


class PalindromeBatch(NamedTuple):
    """Input and target, digits 0 to 9 as int64.

    For the last digit, `digits` is (batch, T−1) and `target` (batch,). For the second half, `digits` is (batch, ⌈T/2⌉)
    and `target` (batch, ⌊T/2⌋).
    """

    digits: Int[Tensor, "batch steps"]
    target: Int[Tensor, "batch ..."]


class PalindromeDataModule(TaskDataModule[PalindromeBatch]):
    """Random palindromes of `length` digits. Every batch is drawn anew from (seed, split, batch number, length).

    Args:
        length: T, the number of digits of a whole palindrome; 2 or more.
        batch_size: palindromes per batch, over all devices together.
        target: what the network predicts, the `last` digit or the `second_half`.
        batches_per_epoch: training batches per epoch.
        validation_batches: batches per validation.
        test_lengths: lengths to test at, for the `last` digit only; by default `length`. Sequences longer than 4,096
            digits are read in chunks.
        test_size: palindromes to test with at each length.
        worst_cases: cases of `datamodules.palindromes.worst_cases` on which the last digit is tested, too, each with
            100 palindromes at each length; adversary is one more, up to `LONGEST_ADVERSARY`. By default all.
        constant_rest: the share of training palindromes, from 0 to 1, whose digits are all equal but the first and the
            last; for the `last` digit only.
        shortest: training lengths are drawn uniformly from `shortest` to T, one for each batch; by default all are T.

    Raises:
        ValueError: when an argument is out of range.
    """

    least_length = 2

    def __init__(
        self,
        length: int,
        batch_size: int = 128,
        target: Target = "last",
        batches_per_epoch: int = 100,
        validation_batches: int = 4,
        test_lengths: list[int] | None = None,
        test_size: int = 1000,
        worst_cases: list[str] | None = None,
        constant_rest: float = 0.0,
        shortest: int | None = None,
    ) -> None:
        super().__init__(length, shortest, batch_size, batches_per_epoch, validation_batches, test_lengths, test_size)
        check_choice("target", target, get_args(Target))
        if not 0 <= constant_rest <= 1:
            raise ValueError(f"constant_rest is {constant_rest}; write a share from 0 to 1")
        if constant_rest and target != "last":
            raise ValueError("constant_rest is for the last digit; leave it out with target: second_half")
        if test_lengths and target != "last":
            raise ValueError("test_lengths are for the last digit; leave them out with target: second_half")
        self.target = target
        self.cases = tuple(CASES) if target == "last" else ()
        known = [*CASES, ADVERSARY]
        self.worst_cases = known if worst_cases is None else worst_cases
        for case in self.worst_cases:
            check_choice("worst_cases", case, known)
        self.constant_rest = constant_rest

    @property
    def symbol_names(self) -> list[str]:
        """The digits, and for the second half the blank."""
        return [*map(str, range(DIGITS)), *("_" for _ in range(self.target == "second_half"))]

    def test_dataloader(self) -> AllPalindromes | EvaluationBatches[PalindromeChunk]:
        """For the last digit, the palindromes of each length and, at each length, of each worst case."""
        if self.target == "last":
            lengths = self.test_lengths or [self.length]
            return AllPalindromes([loader for length in lengths for loader in self._test_loaders(length)])
        return EvaluationBatches(self._test_chunk, count_batches(self.test_size, self.batch_size))

    def _test_loaders(self, length: int) -> Iterator[ChunkedPalindromes | EvaluationBatches[PalindromeChunk]]:
        yield ChunkedPalindromes(length, self.test_size, self.batch_size, self.seed, self.shard)
        # Batches of equal size, so that none has fewer rows than there are ranks.
        size = max(n for n in range(1, min(PAIRS, self.batch_size) + 1) if PAIRS % n == 0)
        for case in self.worst_cases:
            if case != ADVERSARY:
                yield ChunkedPalindromes(length, PAIRS, size, self.seed, self.shard, case)
            elif length <= LONGEST_ADVERSARY:
                yield EvaluationBatches(partial(self._adversary_batch, length, size), PAIRS // size)

    def _adversary_batch(self, length: int, size: int, k: int) -> PalindromeChunk:
        """The first two digits of the palindromes that an adversary continues, all pairs of digits."""
        pairs = in_order(PAIRS, size, k)
        digits = torch.stack([pairs // DIGITS, pairs % DIGITS], dim=1)[:, : length - 1]
        return PalindromeChunk(self.shard(digits), self.shard(digits[:, 0]), length, case=ADVERSARY)

    def _test_chunk(self, k: int) -> PalindromeChunk:
        return PalindromeChunk(*self.test_batch(k, self.length), self.length)

    def make_batch(self, split: str, k: int, *, rows: int, length: int, case: str = "") -> PalindromeBatch:
        # In NumPy, because torch would wake its threads for this, which takes longer than the work.
        random = philox(self.seed, "fresh palindromes", split, k, length)
        first_half = random.integers(0, DIGITS, (rows, (length + 1) // 2))
        if split == "train" and self.constant_rest:
            constant = round(rows * self.constant_rest)
            first_half[:constant, 1:] = random.integers(0, DIGITS, (constant, 1))
        second_half = first_half[:, : length // 2][:, ::-1]  # the middle digit of an odd length is in the first half
        if self.target == "last":
            digits, target = np.concatenate([first_half, second_half[:, :-1]], axis=1), second_half[:, -1]
        else:
            digits, target = first_half, second_half
        return PalindromeBatch(*(self.shard(torch.from_numpy(part.copy())) for part in (digits, target)))
