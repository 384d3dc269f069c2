"""Palindromes for the last digit that a network is more likely to get wrong than uniform ones.

A network that confuses its memory with what it reads meanwhile may name the first digit over a thousand random others,
which cancel out on average, and yet lose it to a thousand equal ones. With the first digit 4, and 7 the other one:

    constant_rest   4 7 7 7 7 7 7 …    all others are equal
    two_digits      4 7 4 4 7 4 7 …    4 and one other digit in random order
    alternating     4 7 8 7 8 7 8 …    7 and 8 by turns
    first_absent    4 1 7 0 9 7 3 …    random digits without 4
    mostly_one      4 7 7 2 7 7 7 …    19 of 20 are 7

One hundred of each have all pairs of a first and another digit.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Int

from common.palindrome import DIGITS

PAIRS = DIGITS**2
"""The number of palindromes of each case."""

RANDOM_BELOW = 180
"""Cases get uniform random integers from 0 to this one, exclusive. It is a multiple of 2, 9 and 20 · 9."""

Column = Int[np.ndarray, "rows 1"]
Positions = Int[np.ndarray, " positions"]
Digits = Int[np.ndarray, "rows positions"]
Case = Callable[[Column, Column, Digits, Positions], Digits]
"""(first digit, other digit, random numbers, positions in the first half from 0) → digits from position 1 on."""


def constant_rest(first: Column, other: Column, random: Digits, position: Positions) -> Digits:
    return np.broadcast_to(other, random.shape)


def two_digits(first: Column, other: Column, random: Digits, position: Positions) -> Digits:
    different = np.where(other == first, DIGITS - 1 - first, other)
    return np.where(random % 2, first, different)


def alternating(first: Column, other: Column, random: Digits, position: Positions) -> Digits:
    return np.where(position % 2, other, (other + 1) % DIGITS)


def first_absent(first: Column, other: Column, random: Digits, position: Positions) -> Digits:
    digits: Digits = (first + 1 + random % (DIGITS - 1)) % DIGITS
    return digits


def mostly_one(first: Column, other: Column, random: Digits, position: Positions) -> Digits:
    return np.where(random % 20, other, (other + 1 + random // 20) % DIGITS)


CASES: dict[str, Case] = {
    case.__name__: case for case in (constant_rest, two_digits, alternating, first_absent, mostly_one)
}
