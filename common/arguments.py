"""Checks of constructor arguments, with messages that say what to write instead."""

from collections.abc import Iterable, Sequence


def check_positive(**sizes: int | Sequence[int]) -> None:
    """Raises ValueError for a size below 1, for a list that holds one, and for an empty list."""
    for name, size in sizes.items():
        if min(size if isinstance(size, Sequence) else [size], default=0) < 1:
            raise ValueError(f"{name} is {size}; write {'numbers of ' if isinstance(size, Sequence) else ''}1 or more")


def check_choice(name: str, value: str, choices: Iterable[str]) -> None:
    """Raises ValueError unless `value` is one of the `choices`."""
    if value not in choices:
        raise ValueError(f"{name} is '{value}'; write one of {', '.join(choices)}")
