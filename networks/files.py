"""Safe writing and reading of weights.

Writing never leaves a torn file under a good name; reading never runs code that a file brings along.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import nn

from networks.table import build, describe


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yields a path beside `path` to write to; after a clean exit it has replaced `path` in one step, or not at all."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield draft
        with draft.open("rb") as file:
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def read_tensors(path: str | Path, map_location: Any = "cpu") -> Any:
    """Reads what `torch.save` wrote, accepting tensors and plain values only, whatever the environment says.

    Raises:
        ValueError: when there is no such file, it is damaged, or it carries pickled code.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path} is not a file")
    try:
        return torch.load(path, map_location=map_location, weights_only=True)
    except UnpicklingError as error:
        raise ValueError(f"{path} holds more than tensors and plain values, so it isn't loaded") from error
    except Exception as error:  # torch's unpickler meets damage with many kinds of exception
        raise ValueError(f"{path} is damaged or wasn't written by torch.save") from error


def save_generator(generator: nn.Module, path: str | Path, *, weights: str, step: int, data_source: str) -> None:
    """Writes `generator.state_dict()` to `path` and, beside it with the ending `.json`, what it is.

    Args:
        weights: "ema" or "raw", whichever the generator holds.
        step: batches trained.
        data_source: what it was trained on, "torchvision" or "packaged".
    """
    path = Path(path)
    facts = {"network": describe(generator), "weights": weights, "step": step, "data_source": data_source}
    with replacing(path) as draft:
        torch.save(generator.state_dict(), draft)
    with replacing(path.with_suffix(".json")) as draft:
        draft.write_text(json.dumps(facts, indent=2) + "\n")


def load_generator(path: str | Path, generator: nn.Module | None = None) -> nn.Module:
    """Builds the network that the `.json` beside `path` names and fills it with the weights of `path`, in eval mode.

    Args:
        generator: fill this one instead; needed when its class isn't in the table of names.

    Raises:
        ValueError: when either file is missing, damaged, untrusted, or they don't fit each other.
    """
    path = Path(path)
    weights = read_tensors(path)
    if generator is None:
        generator = build(read_facts(path)["network"], nn.Module)
    try:
        generator.load_state_dict(weights)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise ValueError(f"the weights in {path} don't fit a {type(generator).__name__}") from error
    return generator.eval()


def read_facts(path: str | Path) -> dict[str, Any]:
    """What the `.json` beside the generator file `path` says: network, weights, step, data_source.

    Raises:
        ValueError: when it is missing or isn't such a file.
    """
    facts_path = Path(path).with_suffix(".json")
    if not facts_path.is_file():
        raise ValueError(f"{facts_path} is missing; it says which network the weights in {path} belong to")
    try:
        facts = json.loads(facts_path.read_text())
    except ValueError as error:
        raise ValueError(f"{facts_path} is not JSON") from error
    if not isinstance(facts, dict) or "network" not in facts:
        raise ValueError(f"{facts_path} doesn't say which network the weights belong to")
    return facts
