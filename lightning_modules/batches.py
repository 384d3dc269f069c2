"""What a batch holds, whatever loader it comes from."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor


def images_of(batch: Any, image_shape: Sequence[int] | None = None) -> Tensor:
    """Returns the images of a batch: the batch itself, or its tensor with the most dimensions; labels aren't needed.

    Raises:
        ValueError: when the batch is no tensor and neither a tuple, a list nor a dictionary with one, the images aren't
            floating point numbers, or each has another shape than the `image_shape` of the networks.
    """
    parts = batch.values() if isinstance(batch, Mapping) else batch if isinstance(batch, tuple | list) else [batch]
    images = max((part for part in parts if isinstance(part, Tensor)), key=Tensor.dim, default=None)
    if images is None or not images.is_floating_point():
        found = type(batch).__name__ if images is None else images.dtype
        raise ValueError(
            f"a batch is images of floats, alone or with labels in a tuple, list or dict; this has {found}"
        )
    if image_shape is not None:
        check_shape(images, image_shape)
    return images


def check_shape(images: Tensor, image_shape: Sequence[int]) -> None:
    """Raises ValueError unless each image has the shape that the networks take."""
    if images.shape[1:] != tuple(image_shape):
        raise ValueError(
            f"the images have the shape {tuple(images.shape[1:])}, but the networks take {tuple(image_shape)}; give "
            "the data and the networks the same image_shape"
        )


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
