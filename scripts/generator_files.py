"""Loads generator files for scripts, with errors that say what to write instead."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from callbacks.drawing import trained_on
from networks.conditional import classes_of
from networks.generator_files import load_generator, read_metadata
from twofold.errors import UsageError, advised

SHOWN = 10
"""The most classes that a message names."""
INSTEAD = "write a generator file, such as runs/gan/RUN/mnist_generator.pth"


class GeneratorFile(NamedTuple):
    """A generator in eval mode and the metadata of its file: network, weights, step and data_source."""

    network: nn.Module
    metadata: dict[str, Any]

    @property
    def origin(self) -> str:
        """How long the generator was trained and on what, such as "after 1,500 batches of MNIST"."""
        return trained_on(self.metadata["step"], self.metadata["data_source"])

    @property
    def class_names(self) -> list[str]:
        """The names of its classes, or else their numbers."""
        names: list[str] = self.metadata.get("class_names") or [str(k) for k in range(classes_of(self.network))]
        return names

    def class_numbers(self, classes: Sequence[str], otherwise: Sequence[str] = ()) -> list[int]:
        """Returns the numbers of classes that are given by name or by number.

        Args:
            classes: names or numbers. Where a name is also another class's number, the name counts.
            otherwise: the names for an unconditional generator.

        Raises:
            UsageError: when the generator doesn't have one of them.
        """
        names = self.class_names or otherwise
        known = {str(k): k for k in range(len(names))} | {name: k for k, name in enumerate(names)}
        for each in classes:
            if each not in known:
                some = ", ".join(names[:SHOWN]) + ", …" * (len(names) > SHOWN)
                instead = f"write one of {some}" if names else "leave it out, for this generator has no classes"
                raise UsageError(f"the class is {each}; {instead}")
        return [known[each] for each in classes]


def open_generator(path: Path) -> GeneratorFile:
    """Loads a generator from a `.pth` with its `.json`, or from a `.safetensors` file.

    Raises:
        UsageError: when the file is missing, damaged, holds code, or isn't a generator file.
    """
    try:
        trained = GeneratorFile(load_generator(path), read_metadata(path))
    except ValueError as error:
        raise advised(error, INSTEAD) from error
    match trained.metadata:
        case {"step": int(), "data_source": str()}:
            if all(weight.isfinite().all() for weight in trained.network.state_dict().values()):
                return trained
            raise UsageError(f"{path} holds weights that aren't finite numbers; its training failed")
    raise UsageError(f"the metadata of {path} lacks the step or the data_source; {INSTEAD}")
