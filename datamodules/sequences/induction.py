"""Induction: a special symbol comes twice; what followed it first is the answer when it comes again.

    step       1  2  3  4  5  6  7  8
    symbols    7  2  *  5  0  2  9  *
    targets                         5      T = 8 steps, 10 tokens and the special symbol *

The network writes once, when it sees the special symbol, and must ignore all else. The step of the writing varies, so
what it keeps depends on what it reads.

The synthetic induction heads of Gu & Dao 2023, "Mamba" (arXiv 2312.00752, section 4.1.2), who train at 256 steps with
16 tokens and test at up to a million. `configs/induction.yaml` is reduced to 32 steps.
"""

from typing import Any

import numpy as np

from common.targets import UNASKED
from datamodules.sequences.datamodule import Rows, SequenceDataModule, unasked


class InductionDataModule(SequenceDataModule):
    """Sequences of random tokens with the special symbol at a random step and at the last step.

    The worst cases: the special symbol at the first or at the last possible step; all other tokens the same; all other
    tokens equal to the answer.

    Args:
        length: T, 3 or more.
        tokens: number of ordinary symbols, 2 or more.
        kwargs: the other arguments of `SequenceDataModule`.

    Raises:
        ValueError: when an argument is out of range.
    """

    least_length = 3
    cases = ("first_place", "last_place", "constant_rest", "answer_rest")

    def __init__(self, length: int, tokens: int = 16, **kwargs: Any) -> None:
        super().__init__(length, **kwargs)
        if tokens < 2:
            raise ValueError(f"tokens is {tokens}; write 2 or more, so that there is something to remember")
        self.tokens = tokens

    @property
    def symbol_names(self) -> list[str]:
        return [*map(str, range(self.tokens)), "*"]

    def draw(self, random: np.random.Generator, rows: int, length: int, case: str = "") -> Rows:
        every, special = np.arange(rows), self.tokens
        symbols = random.integers(0, self.tokens, (rows, length))
        answer = random.integers(0, self.tokens, rows)
        place = random.integers(0, length - 2, rows)
        match case:
            case "first_place":
                place[:] = 0
            case "last_place":
                place[:] = length - 3
            case "constant_rest":
                symbols[:] = symbols[:, :1]
            case "answer_rest":
                symbols[:] = answer[:, None]
        symbols[every, place], symbols[every, place + 1], symbols[:, -1] = special, answer, special
        return symbols

    def targets(self, symbols: Rows) -> Rows:
        targets, special = unasked(*symbols.shape), symbols == self.tokens
        follower = np.minimum(special.argmax(axis=1, keepdims=True) + 1, symbols.shape[1] - 1)
        answer = np.take_along_axis(symbols, follower, axis=1)[:, 0]
        asked = special[:, -1] & (special.sum(axis=1) == 2) & (answer != self.tokens)
        targets[:, -1] = np.where(asked, answer, UNASKED)
        return targets
