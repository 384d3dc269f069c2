"""Test palindromes of any length, read in chunks, so that a whole one is never in memory.

Every digit is a function of (seed, length, batch, position). Digits of the first half come from random streams of 4,096
positions each. The digit at position p of the second half equals the one at T−1−p.

    for chunk in ChunkedPalindromes(length=1_000_000, size=100, batch_size=128, seed=1):
        state = None if chunk.starts else state
        output, state = lstm(one_hot(chunk.digits), state)
        if chunk.ends: ...  # predict chunk.target from the last output
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from common.palindrome import DIGITS
from datamodules.resumable import count_batches, philox

CHUNK = 4096


class PalindromeChunk(NamedTuple):
    """Consecutive digits (0 to 9, int64) of a batch of palindromes.

    `target` is what the network predicts after the last chunk, `length` is T. `starts` marks the first chunk of a
    batch, `ends` the last one.
    """

    digits: Int[Tensor, "batch steps"]
    target: Int[Tensor, "batch ..."]
    length: int
    starts: bool = True
    ends: bool = True


class ChunkedPalindromes:
    """A loader of `size` random palindromes of one length, in chunks of up to 4,096 digits.

    The target is the last digit.

    Args:
        length: T, 2 or more.
        size: number of palindromes.
        batch_size: palindromes read side by side.
        seed: determines the palindromes, together with `length`.
        share: picks the rows of a batch that this process works on.
    """

    def __init__(
        self, length: int, size: int, batch_size: int, seed: int, share: Callable[[Tensor], Tensor] = lambda rows: rows
    ) -> None:
        self.length = length
        self.size = size
        self.batch_size = batch_size
        self.seed = seed
        self.share = share

    def __len__(self) -> int:
        return count_batches(self.size, self.batch_size) * len(self._starts)

    def __iter__(self) -> Iterator[PalindromeChunk]:
        for batch in range(count_batches(self.size, self.batch_size)):
            target = self.share(self._digits(batch, range(1))[:, 0])
            for start in self._starts:
                positions = self._read[start : start + CHUNK]
                digits = self.share(self._digits(batch, positions))
                ends = positions.stop == self._read.stop
                yield PalindromeChunk(digits, target, self.length, starts=start == 0, ends=ends)

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
        return torch.from_numpy(drawn[:, mirrored - first * CHUNK].astype(np.int64))

    def _block(self, batch: int, block: int) -> UInt8[np.ndarray, "rows 4096"]:
        rows = min(self.batch_size, self.size - batch * self.batch_size)
        random = philox(self.seed, "chunked palindromes", self.length, batch, block)
        return random.integers(0, DIGITS, (rows, CHUNK), dtype=np.uint8)
