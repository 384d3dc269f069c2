"""What defines the palindrome task, for its data and its modules."""

from typing import Literal

DIGITS = 10
"""How many symbols a palindrome may contain: the digits 0 to 9."""

BLANK = DIGITS
"""The symbol that a network reads where it has to write a digit of the second half."""

Target = Literal["last", "second_half"]
"""What the network predicts: the last digit, or the whole second half."""

ADVERSARY = "adversary"
"""The case of test palindromes of which the first digits are given, and a `metrics.adversary` picks the others."""
