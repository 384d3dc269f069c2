"""Recall by key: pairs of a key and a value, then keys; each key is answered with its value.

    step       1  2  3  4  5  6  7  8  9 10 11 12 13 14
    symbols   k3 v1 k0 v7 k5 v2 k0 v4 v9 v6 k3 v8 k5 v3
    targets                     v7          v1    v2         T = 14 steps, 3 pairs

The network must find a value by its key. Random values fill the steps between the keys that are asked.

Multi-query associative recall of Arora et al. 2023, "Zoology" (arXiv 2312.04927; `multiquery_ar` in the code of the
paper), with the gap between the pairs and a query from a power law, p(gap) ∝ gap^(a−1) with a = 0.01, so that most
queries come soon. Two things differ. It is reduced: they take 64 to 512 steps with 4 to 64 pairs and 8,192 symbols. And
they fill with random symbols, keys as well, for which their targets ask nothing; here a key that comes again is asked.
"""

from typing import Any

import numpy as np

from common.arguments import check_positive
from common.targets import UNASKED
from datamodules.sequences.datamodule import Rows, SequenceDataModule, unasked

POWER = 0.01


class RecallDataModule(SequenceDataModule):
    """Pairs of different keys and different values, then each key once, every other step at most.

    Of an odd length the last step is left out.

    The worst cases: the last key alone, right after the pairs; the first key alone, at the end; all values from two.

    Args:
        length: T, four times the number of pairs or more.
        pairs: number of pairs.
        keys: number of keys to choose from, `pairs` or more.
        values: number of values to choose from, `pairs` or more.
        kwargs: the other arguments of `SequenceDataModule`.

    Raises:
        ValueError: when an argument is out of range.
    """

    cases = ("nearest", "farthest", "repeated_values")

    def __init__(self, length: int, pairs: int = 4, keys: int = 16, values: int = 16, **kwargs: Any) -> None:
        check_positive(pairs=pairs)
        if min(keys, values) < pairs:
            raise ValueError(f"keys is {keys} and values {values}; write {pairs} or more, one for each of the pairs")
        self.pairs, self.keys, self.values = pairs, keys, values
        super().__init__(length, **kwargs)

    @property
    def least_length(self) -> int:  # type: ignore[override]
        """Each pair takes two steps, and so does each query."""
        return 4 * self.pairs

    @property
    def symbol_names(self) -> list[str]:
        return [f"k{n}" for n in range(self.keys)] + [f"v{n}" for n in range(self.values)]

    def draw(self, random: np.random.Generator, rows: int, length: int, case: str = "") -> Rows:
        places = length // 2 - self.pairs
        keys = _distinct(random, rows, np.zeros(self.keys), self.pairs)
        values = self.keys + _distinct(random, rows, np.zeros(self.values), self.pairs)
        place = _distinct(random, rows, (POWER - 1) * np.log(np.arange(1, places + 1)), self.pairs)
        symbols = random.integers(self.keys, self.keys + self.values, (rows, 2 * (length // 2)))
        match case:
            case "nearest":
                asked, place = slice(-1, None), np.zeros((rows, 1), int)
            case "farthest":
                asked, place = slice(0, 1), np.full((rows, 1), places - 1)
            case "repeated_values":
                two = np.tile(np.arange(self.pairs) % 2, (rows, 1))
                asked, values = slice(None), np.take_along_axis(values, random.permuted(two, axis=1), axis=1)
            case _:
                asked = slice(None)
        pairs = 2 * self.pairs
        symbols[:, 0:pairs:2], symbols[:, 1:pairs:2] = keys, values
        np.put_along_axis(symbols, pairs + 2 * place, keys[:, asked], axis=1)
        return symbols

    def targets(self, symbols: Rows) -> Rows:
        targets, pairs = unasked(*symbols.shape), 2 * self.pairs
        keys, values = symbols[:, 0:pairs:2], symbols[:, 1:pairs:2]
        if symbols.shape[1] > pairs:
            same = symbols[:, pairs:, None] == keys[:, None]  # (rows, steps, pairs)
            value = np.take_along_axis(values, same.argmax(axis=2), axis=1)
            asked = (same.sum(axis=2) == 1) & (symbols[:, pairs:] < self.keys) & (value >= self.keys)
            targets[:, pairs:] = np.where(asked, value, UNASKED)
        return targets


def _distinct(random: np.random.Generator, rows: int, log_weights: np.ndarray, n: int) -> np.ndarray:
    """Draws n different indices in each row, with these log probabilities up to a constant (Gumbel's trick)."""
    score = log_weights + random.gumbel(size=(rows, len(log_weights)))
    return np.argsort(-score, axis=1)[:, :n]
