"""Parity: at each step, whether the number of ones so far is odd.

    step       1  2  3  4  5  6  7  8
    symbols    0  1  1  0  1  0  0  1
    targets    0  1  0  0  1  1  1  0      T = 8 steps

The network must change its state at each one and keep it at each zero. No answer can be seen in the last few symbols.

Parity check of Delétang et al. 2022, "Neural networks and the Chomsky hierarchy" (arXiv 2207.02098), who ask at the end
and train at lengths from 1 to 40; asked at each step, as in the state tracking of Merrill et al. 2024, "The illusion of
state in state-space models" (arXiv 2404.08819).
"""

import numpy as np

from datamodules.sequences.datamodule import Rows, SequenceDataModule


class ParityDataModule(SequenceDataModule):
    """Random bits. The worst cases: ones alone; a single one, at the start."""

    least_length = 1
    cases = ("all_ones", "one_one")

    @property
    def symbol_names(self) -> list[str]:
        return ["0", "1"]

    def draw(self, random: np.random.Generator, rows: int, length: int, case: str = "") -> Rows:
        symbols = random.integers(0, 2, (rows, length))
        match case:
            case "all_ones":
                symbols[:] = 1
            case "one_one":
                symbols[:] = 0
                symbols[:, 0] = 1
        return symbols

    def targets(self, symbols: Rows) -> Rows:
        return symbols.cumsum(axis=1) % 2
