"""Whose digits a benchmark of the game is about."""

from argparse import ArgumentParser
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args

from datamodules import MNISTDataModule
from datamodules.mnist import Source
from twofold.errors import UsageError


def add_digits(parser: ArgumentParser) -> None:
    """The options `root` and `source`, as `datamodules.MNISTDataModule` takes them."""
    parser.add_argument("--root", default="data", help="the folder that holds MNIST/raw")
    explained = "packaged tries it out without MNIST"
    parser.add_argument("--source", default="torchvision", choices=get_args(Source), help=explained)


def real_digits(root: str, source: Source) -> MNISTDataModule:
    """The digits that these options name, downloaded unless they are there.

    Raises:
        UsageError: when they can't be had.
    """
    data = MNISTDataModule(root, source)
    try:
        data.prepare_data()
        data.setup()
    except (ValueError, OSError) as error:
        raise UsageError(str(error)) from error
    return data


def refuse_another(rows: Iterable[Mapping[str, Any]], table: Path, **facts: object) -> None:
    """Raises UsageError when a row of the table is about others than these, such as `data_source="packaged"`."""
    for row in rows:
        for name, value in facts.items():
            if row[name] != str(value):
                raise UsageError(
                    f"{table} is about {name} {row[name]}, with which {value} can't be compared; move it away first"
                )
