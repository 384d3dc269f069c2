"""Flip-flop: write, ignore and read one bit. Each read is answered with the bit that was written last.

    step       1  2  3  4  5  6  7  8  9 10 11 12
    symbols    w  1  i  0  r  1  w  0  i  1  r  0
    targets                1                 0      T = 12 steps: instructions, each followed by a bit

The answer is asked when the instruction r is read; the bit that follows it repeats the answer. A network must overwrite
what it keeps at w and keep it at i, however many there are.

Flip-flop language modelling of Liu et al. 2023, "Exposing attention glitches with flip-flop language modeling" (arXiv
2306.00946), who train at 512 steps with p(ignore) = 0.8, and test at 0.98 and 0.1. `configs/flip_flop.yaml` is reduced
to 32 steps.
"""

from typing import Any

import numpy as np

from common.targets import UNASKED
from datamodules.sequences.datamodule import Rows, SequenceDataModule

WRITE, IGNORE, READ = 2, 3, 4


class FlipFlopDataModule(SequenceDataModule):
    """Random instructions and bits; the first instruction is a write, the last one a read.

    An instruction is ignore with probability `p_ignore`, and else write or read with equal probabilities. Of an odd
    length the last step is left out.

    The worst cases: instructions with p(ignore) = 0.98 and 0.1; one write at the start and one read at the end; nothing
    but writes before the read; writes of one value while all ignored bits are the other.

    Args:
        length: T, 4 or more.
        p_ignore: probability of ignore, in [0, 1].
        kwargs: the other arguments of `SequenceDataModule`.

    Raises:
        ValueError: when an argument is out of range.
    """

    least_length = 4
    cases = ("p_ignore=0.98", "p_ignore=0.1", "one_write", "only_writes", "same_value")

    def __init__(self, length: int, p_ignore: float = 0.8, **kwargs: Any) -> None:
        super().__init__(length, **kwargs)
        if not 0 <= p_ignore <= 1:
            raise ValueError(f"p_ignore is {p_ignore}; write a probability from 0 to 1")
        self.p_ignore = p_ignore

    @property
    def symbol_names(self) -> list[str]:
        return ["0", "1", "w", "i", "r"]

    def draw(self, random: np.random.Generator, rows: int, length: int, case: str = "") -> Rows:
        pairs = length // 2
        p_ignore = {"p_ignore=0.98": 0.98, "p_ignore=0.1": 0.1, "one_write": 1.0}.get(case, self.p_ignore)
        p = ((1 - p_ignore) / 2, p_ignore, (1 - p_ignore) / 2)
        instructions = random.choice((WRITE, IGNORE, READ), (rows, pairs), p=p)
        if case == "only_writes":
            instructions[:] = WRITE
        instructions[:, 0], instructions[:, -1] = WRITE, READ
        bits = random.integers(0, 2, (rows, pairs))
        if case == "same_value":
            bits = np.where(instructions == IGNORE, 1 - bits[:, :1], bits[:, :1])
        symbols = np.stack([instructions, bits], axis=2).reshape(rows, -1)
        answers = self.targets(symbols)[:, ::2]
        symbols[:, 1::2] = np.where(answers == UNASKED, bits, answers)
        return symbols

    def targets(self, symbols: Rows) -> Rows:
        step = np.arange(symbols.shape[1])
        instructions = np.where(step % 2, UNASKED, symbols)
        last_write = np.maximum.accumulate(np.where(instructions == WRITE, step, -1), axis=1)
        written = np.take_along_axis(symbols, np.minimum(last_write + 1, step[-1]), axis=1)
        return np.where((instructions == READ) & (last_write >= 0) & (written < WRITE), written, UNASKED)
