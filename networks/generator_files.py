"""Generator files: a generator's weights in a `.pth` file, and a `.json` file beside it that says what they are."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from common.files import SAFETENSORS, local_file, read_safetensors, read_tensors, replacing, write_tensors
from networks.registry import Spec, from_spec, to_spec


def save_generator(
    generator: nn.Module,
    path: str | Path,
    *,
    weights: str,
    step: int,
    data_source: str,
    class_names: Sequence[str] = (),
) -> None:
    """Writes `generator.state_dict()` to `path` and its metadata to the same name with the ending `.json`.

    Args:
        weights: "ema" or "raw", whichever the generator holds.
        step: number of training batches.
        data_source: "torchvision" (MNIST), "packaged", or the name of another dataset.
        class_names: of a class-conditional generator's classes, if they have names.
    """
    path = Path(path)
    metadata = {"network": to_spec(generator), "weights": weights, "step": step, "data_source": data_source}
    metadata |= {"class_names": [*class_names]} if class_names else {}
    write_tensors(generator.state_dict(), path)
    with replacing(path.with_suffix(".json")) as draft:
        draft.write_text(json.dumps(metadata, indent=2) + "\n", encoding="utf-8")


def load_generator(path: str | Path, generator: nn.Module | None = None) -> nn.Module:
    """Builds the network that a generator file names, with its weights, in float32 and in eval mode.

    Args:
        path: a `.pth` file of `save_generator`, or a `.safetensors` file of `scripts.export`.
        generator: load the weights into this network instead; needed when its class isn't registered.

    Raises:
        ValueError: when a file is missing, damaged or not a generator's, or the weights don't fit the network.
    """
    path = Path(path)
    weights = read_safetensors(path)[0] if path.suffix == SAFETENSORS else read_tensors(path)
    if isinstance(weights, dict) and "pytorch-lightning_version" in weights:
        raise ValueError(f"{path} is a checkpoint; write the generator file, the run's mnist_generator.pth")
    if generator is None:
        generator = build_with_weights(read_metadata(path)["network"], weights, path).float()
    else:
        load_weights(generator, weights, path)
    if not isinstance(getattr(generator, "latent_dim", None), int):
        raise ValueError(f"{path} holds a {type(generator).__name__}, which isn't a generator: it has no latent_dim")
    return generator.eval()


def build_with_weights(spec: Spec, weights: Any, path: Path) -> nn.Module:
    """Builds the network of a spec around the weights read from `path`. Draws no random numbers.

    Raises:
        ValueError: as `networks.registry.from_spec` does, or when the weights don't fit.
    """
    with torch.device("meta"):  # no initial weights, so no random numbers
        network: nn.Module = from_spec(spec, nn.Module)
    load_weights(network, weights, path, assign=True)
    return network


def load_weights(network: nn.Module, weights: Any, path: Path, assign: bool = False) -> None:
    """Calls `network.load_state_dict`; raises ValueError naming `path` when the weights don't fit."""
    try:
        network.load_state_dict(weights, assign=assign)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise ValueError(f"the weights in {path} don't fit a {type(network).__name__}") from error


def read_metadata(path: str | Path) -> dict[str, Any]:
    """Reads a generator file's metadata: network, weights, step, data_source and class_names, if there are any.

    They are in a `.safetensors` file itself, and for other weights in the `.json` file beside them.

    Raises:
        ValueError: when it is missing or malformed.
    """
    path = Path(path)
    if path.suffix == SAFETENSORS:
        source, text = path, read_safetensors(path)[1].get("generator", "")
    else:
        source = path.with_suffix(".json")
        if not source.exists():
            raise ValueError(f"{source} is missing; it says which network the weights in {path} belong to")
        text = local_file(source).read_text(encoding="utf-8", errors="replace")
    try:
        metadata = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the metadata in {source} is not JSON") from error
    if not isinstance(metadata, dict) or "network" not in metadata:
        raise ValueError(f"the metadata in {source} doesn't say which network the weights belong to")
    return metadata
