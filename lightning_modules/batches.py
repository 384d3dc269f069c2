"""What a batch holds, whatever loader it comes from."""

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor


def images_of(batch: Any) -> Tensor:
    """Returns the images of a batch: the batch itself, or its tensor with the most dimensions; labels aren't needed.

    Raises:
        ValueError: when the batch is no tensor and neither a tuple, a list nor a dictionary with one, or the images
            aren't floating point numbers.
    """
    parts = batch.values() if isinstance(batch, Mapping) else batch if isinstance(batch, tuple | list) else [batch]
    images = max((part for part in parts if isinstance(part, Tensor)), key=Tensor.dim, default=None)
    if images is None or not images.is_floating_point():
        found = type(batch).__name__ if images is None else images.dtype
        raise ValueError(
            f"a batch is images of floats, alone or with labels in a tuple, list or dict; this has {found}"
        )
    return images


def input_and_target(batch: Any) -> tuple[Tensor, Tensor]:
    """Returns the two parts of a labelled batch.

    Raises:
        ValueError: when it isn't a pair of tensors.
    """
    match batch:
        case (Tensor() as input, Tensor() as target):
            return input, target
    size = f" of {len(batch)}" if isinstance(batch, tuple | list) else ""
    raise ValueError(f"a batch is two tensors, (input, target); this is a {type(batch).__name__}{size}")


def one_hot(module: Any, symbols: Tensor) -> Tensor:
    """Returns the input of `module.network` for symbols of any shape, in the dtype of its weights."""
    return F.one_hot(symbols, module.network.input_size).to(module.readout.weight.dtype)
