"""The checker that conftest.py hands to jaxtyping, by name."""

from collections.abc import Callable
from typing import Any

from beartype import beartype
from beartype.roar import BeartypeDecorHintPep673Exception


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """`beartype`, which can't check a result of type `Self` one method at a time, and then needn't."""
    try:
        return beartype(function)
    except BeartypeDecorHintPep673Exception:
        return function
