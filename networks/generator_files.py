"""Generator files: a generator's weights, and beside them what they belong to."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from common.files import MOST_TEXT, SAFETENSORS, read_safetensors, read_tensors, readable, replacing, write_tensors
from networks.registry import Spec, from_spec, to_spec


def save_generator(generator: nn.Module, path: str | Path, *, weights: str, step: int, data_source: str) -> None:
    """Writes `generator.state_dict()` to `path` and, beside it with the ending `.json`, what it is.

    Args:
        weights: "ema" or "raw", whichever the generator holds.
        step: batches trained.
        data_source: what it was trained on, "torchvision" or "packaged".
    """
    path = Path(path)
    facts = {"network": to_spec(generator), "weights": weights, "step": step, "data_source": data_source}
    write_tensors(generator.state_dict(), path)
    with replacing(path.with_suffix(".json")) as draft:
        draft.write_text(json.dumps(facts, indent=2) + "\n")


def load_generator(path: str | Path, generator: nn.Module | None = None) -> nn.Module:
    """Builds the network that the generator file `path` belongs to, in float32 and eval mode, with its weights.

    Args:
        path: what `save_generator` wrote, or a `.safetensors` file that `scripts.export` made of it.
        generator: fill this one instead; needed when its class isn't in the table of names.

    Raises:
        ValueError: when a file is missing, damaged, untrusted, no generator's, or weights and network don't fit.
    """
    path = Path(path)
    weights = read_safetensors(path)[0] if path.suffix == SAFETENSORS else read_tensors(path)
    if isinstance(weights, dict) and "pytorch-lightning_version" in weights:
        raise ValueError(f"{path} is a checkpoint; write the generator file, the run's mnist_generator.pth")
    built = generator is None
    if generator is None:
        generator = skeleton(read_metadata(path)["network"])
    fill(generator, weights, path)
    if not isinstance(getattr(generator, "latent_dim", None), int):
        raise ValueError(f"{path} holds a {type(generator).__name__}, which is no generator: it has no latent_dim")
    return (generator.float() if built else generator).eval()


def skeleton(description: Spec) -> nn.Module:
    """The described network without weights, to be filled.

    On the meta device, where it costs neither memory, whatever size a file claims, nor random numbers.

    Raises:
        ValueError: as `networks.registry.from_spec` does.
    """
    with torch.device("meta"):
        return from_spec(description, nn.Module)


def fill(network: nn.Module, weights: Any, path: Path) -> None:
    """Gives a network, or a skeleton of one, the weights that stood in `path`.

    Raises:
        ValueError: when they don't fit.
    """
    bare = any(tensor.is_meta for tensor in network.state_dict().values())
    try:
        network.load_state_dict(weights, assign=bare)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise ValueError(f"the weights in {path} don't fit a {type(network).__name__}") from error


def read_metadata(path: str | Path) -> dict[str, Any]:
    """What is said of a generator file: network, weights, step, data_source.

    It stands in the text of a `.safetensors` file, else in the `.json` beside the file.

    Raises:
        ValueError: when it is missing or says something else.
    """
    path = Path(path)
    if path.suffix == SAFETENSORS and (text := read_safetensors(path)[1].get("generator")) is not None:
        return _parsed_facts(text, f"the text in {path}")
    facts_path = path.with_suffix(".json")
    if not facts_path.exists():
        raise ValueError(f"{facts_path} is missing; it says which network the weights in {path} belong to")
    try:
        return _parsed_facts(readable(facts_path, MOST_TEXT).read_text(), str(facts_path))
    except UnicodeDecodeError as error:
        raise ValueError(f"{facts_path} is not JSON") from error


def _parsed_facts(text: str, source: str) -> dict[str, Any]:
    try:
        facts = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{source} is not JSON") from error
    if not isinstance(facts, dict) or "network" not in facts:
        raise ValueError(f"{source} doesn't say which network the weights belong to")
    return facts
