"""What scripts that take a generator file share: it is loaded, or refused in words, and so is where the result goes."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from callbacks.drawing import trained_on
from common.seeding import HIGHEST_SEED
from networks.generator_files import load_generator, read_metadata
from networks.registry import NotRegisteredError
from twofold.errors import UsageError, advised

LONGEST_SOURCE = 100
"""Characters of the name of the data that a generator was trained on."""

INSTEAD = "write a generator file, such as runs/gan/RUN/mnist_generator.pth"
MOST_IMAGES = 10_000
"""In one picture."""


class GeneratorFile(NamedTuple):
    """A generator in eval mode, and what its file says of it: network, weights, step, data_source."""

    network: nn.Module
    facts: dict[str, Any]

    @property
    def origin(self) -> str:
        """How much of what it learned from, in words."""
        return trained_on(self.facts["step"], self.facts["data_source"])


def open_generator(path: Path) -> GeneratorFile:
    """The generator in a `.pth` with its `.json`, or in a `.safetensors` file.

    Raises:
        UsageError: when it is anything else.
    """
    try:
        trained = GeneratorFile(load_generator(path), read_metadata(path))
    except NotRegisteredError as error:
        instead = "scripts read what networks/registry.py builds, see docs/add_a_network.md"
        raise UsageError(f"{error.problem}; {instead}") from error
    except ValueError as error:
        raise advised(error, INSTEAD) from error
    match trained.facts:
        case {"step": bool()}:
            pass
        case {"step": int(step), "data_source": str(source)} if step >= 0 and len(source) <= LONGEST_SOURCE:
            if not all(weight.isfinite().all() for weight in trained.network.state_dict().values()):
                raise UsageError(f"{path} holds weights that are no finite numbers; its training has failed")
            return trained
    raise UsageError(f"what is said of {path} doesn't tell its step and data_source, as a generator file's .json does")


def refuse_other_seeds(option: str, seeds: Sequence[int]) -> None:
    """Raises UsageError unless all can be a run's seed, too."""
    for seed in seeds:
        if not 0 <= seed <= HIGHEST_SEED:
            raise UsageError(f"{option} can't be {seed}; write a whole number from 0 to {HIGHEST_SEED}")


@contextmanager
def written_to(path: Path) -> Iterator[None]:
    """Within, failing to write is the fault of where the user wanted it, a UsageError."""
    try:
        yield
    except OSError as error:
        raise UsageError(f"can't write {path}: {error.strerror or error}") from error
