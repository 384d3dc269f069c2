"""Types of command-line arguments that several scripts share, for `argparse`."""

from argparse import ArgumentTypeError
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType

from common.seeding import HIGHEST_SEED


def whole_number(lowest: int, highest: int | None = None) -> Callable[[str], int]:
    """Returns a `type` that accepts whole numbers from `lowest` to `highest`; without a `highest` there is no limit."""
    limits = f"{lowest} or more" if highest is None else f"{lowest} to {highest}"

    def parse(text: str) -> int:
        if not text.removeprefix("-").isdecimal() or not lowest <= int(text) <= (highest or int(text)):
            raise ArgumentTypeError(f"can't be {text}; write a whole number, {limits}")
        return int(text)

    return parse


seed = whole_number(0, HIGHEST_SEED)
"""The `type` of a random seed."""


def file_name(*endings: str) -> Callable[[str], Path]:
    """Returns a `type` that accepts names of files with one of these endings, such as ".png"."""

    def parse(text: str) -> Path:
        if Path(text).suffix.lower() not in endings:
            raise ArgumentTypeError(f"can't be {text}; write a name that ends in {' or '.join(endings)}")
        return Path(text).expanduser()

    return parse


def user_module(name: str) -> ModuleType:
    """The `type` of the name of a module of the user's own, which is imported."""
    try:
        return import_module(name)
    except Exception as error:  # whatever the module raises
        raise ArgumentTypeError(f"can't import {name}: {error}") from error
