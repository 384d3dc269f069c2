"""Loads generator files for scripts, with errors that say what to write instead."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn

from callbacks.drawing import trained_on
from networks.conditional import labels_in_turn
from networks.generator_files import load_generator, read_metadata
from twofold.errors import UsageError, advised

INSTEAD = "write a generator file, such as runs/gan/RUN/mnist_generator.pth"


class GeneratorFile(NamedTuple):
    """A generator in eval mode and the metadata of its file: network, weights, step and data_source."""

    network: nn.Module
    metadata: dict[str, Any]

    @property
    def origin(self) -> str:
        """How long the generator was trained and on what, such as "after 1,500 batches of MNIST"."""
        return trained_on(self.metadata["step"], self.metadata["data_source"])


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


def chosen_labels(network: nn.Module, n: int, classes: Sequence[int]) -> tuple[Tensor, ...]:
    """As `networks.conditional.labels_in_turn`, but raises UsageError for a class that the generator doesn't have."""
    try:
        return labels_in_turn(network, n, classes)
    except ValueError as error:
        raise UsageError(str(error)) from error
