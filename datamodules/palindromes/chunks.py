"""Test palindromes of any length, read in chunks, so that a whole one is never in memory.

Every digit is a function of (seed, case, length, batch, position). Digits of the first half come from random streams of
4,096 positions each. The digit at position p of the second half equals the one at T−1−p.

    for chunk in ChunkedPalindromes(length=1_000_000, size=100, batch_size=128, seed=1):
        state = None if chunk.starts else state
        output, state = lstm(one_hot(chunk.digits), state)
        if chunk.ends: ...  # predict chunk.target from the last output
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from common.arguments import check_choice
from common.palindrome import DIGITS
from datamodules.palindromes.worst_cases import CASES, RANDOM_BELOW
from datamodules.resumable import EvaluationBatches, count_batches, philox

CHUNK = 4096


class PalindromeChunk(NamedTuple):
    """Consecutive digits (0 to 9, int64) of a batch of palindromes.

    `target` is what the network predicts after the last chunk, `length` is T. `starts` marks the first chunk of a
    batch, `ends` the last one. `case` names a worst case, or is empty for uniform digits.
    """

    digits: Int[Tensor, "batch steps"]
    target: Int[Tensor, "batch ..."]
    length: int
    starts: bool = True
    ends: bool = True
    case: str = ""

    @property
    def name(self) -> str:
        """What a test calls its accuracy, such as "T=1000/constant_rest"."""
        return f"T={self.length}" + (f"/{self.case}" if self.case else "")


class ChunkedPalindromes:
    """A loader of `size` random palindromes of one length, in chunks of up to 4,096 digits.

    The target is the last digit.

    Args:
        length: T, 2 or more.
        size: number of palindromes.
        batch_size: palindromes read side by side.
        seed: determines the palindromes, together with `length`.
        share: picks the rows of a batch that this process works on.
        case: a name in `datamodules.palindromes.worst_cases.CASES`, by default uniform digits. The pairs of first and
            other digit repeat after 100 palindromes.

    Raises:
        ValueError: when the case isn't known.
    """

    def __init__(
        self,
        length: int,
        size: int,
        batch_size: int,
        seed: int,
        share: Callable[[Tensor], Tensor] = lambda rows: rows,
        case: str = "",
    ) -> None:
        check_choice("case", case, ["", *CASES])
        self.length = length
        self.size = size
        self.batch_size = batch_size
        self.seed = seed
        self.share = share
        self.case = case

    def __len__(self) -> int:
        return count_batches(self.size, self.batch_size) * len(self._starts)

    def __iter__(self) -> Iterator[PalindromeChunk]:
        for batch in range(count_batches(self.size, self.batch_size)):
            target = self.share(self._digits(batch, range(1))[:, 0])
            for start in self._starts:
                positions = self._read[start : start + CHUNK]
                digits = self.share(self._digits(batch, positions))
                ends = positions.stop == self._read.stop
                yield PalindromeChunk(digits, target, self.length, start == 0, ends, self.case)

    @property
    def _read(self) -> range:
        """The positions of the digits that are read: all but the last."""
        return range(self.length - 1)

    @property
    def _starts(self) -> range:
        return self._read[::CHUNK]

    def _digits(self, batch: int, positions: range) -> Int[Tensor, "rows positions"]:
        position = np.asarray(positions)
        mirrored = np.minimum(position, self.length - 1 - position)
        first, last = mirrored.min() // CHUNK, mirrored.max() // CHUNK
        drawn = np.concatenate([self._block(batch, block) for block in range(first, last + 1)], axis=1)
        digits = drawn[:, mirrored - first * CHUNK].astype(np.int64)
        if self.case:
            rows = batch * self.batch_size + np.arange(len(digits))[:, None]
            first_digit, other_digit = rows // DIGITS % DIGITS, rows % DIGITS
            rest = CASES[self.case](first_digit, other_digit, digits, mirrored)
            digits = np.where(mirrored == 0, first_digit, rest)
        return torch.from_numpy(digits)

    def _block(self, batch: int, block: int) -> UInt8[np.ndarray, "rows 4096"]:
        rows = min(self.batch_size, self.size - batch * self.batch_size)
        key = [self.case] if self.case else []
        random = philox(self.seed, "chunked palindromes", *key, self.length, batch, block)
        return random.integers(0, RANDOM_BELOW if self.case else DIGITS, (rows, CHUNK), dtype=np.uint8)


class AllPalindromes:
    """The chunks of several loaders, one after the other. Lightning would print a column for each loader."""

    def __init__(self, loaders: Sequence[ChunkedPalindromes | EvaluationBatches[PalindromeChunk]]) -> None:
        self.loaders = loaders

    def __len__(self) -> int:
        return sum(map(len, self.loaders))

    def __iter__(self) -> Iterator[PalindromeChunk]:
        return chain.from_iterable(self.loaders)
