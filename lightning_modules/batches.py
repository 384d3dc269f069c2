"""What a batch holds, whatever loader it comes from."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def images_of(batch: Any, image_shape: Sequence[int] | None = None) -> Tensor:
    """Returns the images of a batch: the batch itself, or its tensor with the most dimensions; labels aren't needed.

    Raises:
        ValueError: when the batch is no tensor and neither a tuple, a list nor a dictionary with one, the images aren't
            floating point numbers, or each has another shape than the `image_shape` of the networks.
    """
    images = max(_tensors(batch), key=Tensor.dim, default=None)
    if images is None or not images.is_floating_point():
        found = type(batch).__name__ if images is None else images.dtype
        raise ValueError(
            f"a batch is images of floats, alone or with labels in a tuple, list or dict; this has {found}"
        )
    if image_shape is not None:
        check_shape(images, image_shape)
    return images


def labels_of(batch: Any, classes: int) -> tuple[Tensor, ...]:
    """Returns the labels of a batch for networks with so many classes in a tuple, which is empty for 0 classes.

    They are the batch's tensor of whole numbers with one dimension, the first if there are several.

    Raises:
        ValueError: when there is none, or a label is none of the classes.
    """
    if classes == 0:
        return ()
    for part in _tensors(batch):
        if part.dim() == 1 and not part.is_floating_point():
            check_labels(part, classes, "networks have")
            return (part.long(),)
    raise ValueError(
        "the networks are class-conditional, but the batches have no labels; let the data make pairs of images and "
        "labels, or give the networks classes: 0"
    )


def check_labels(labels: Tensor, classes: int, what_has: str) -> None:
    """Raises ValueError for a label that is none of the classes; `what_has` them is part of the message."""
    # On the CPU only, because reading a number from a GPU would wait for it.
    if labels.device.type == "cpu" and len(labels):
        lowest, highest = (int(each) for each in labels.aminmax())
        wrong = highest if highest >= classes else lowest
        if not 0 <= wrong < classes:
            raise ValueError(
                f"a label is {wrong}, but the {what_has} the classes 0 to {classes - 1}; write the number of the "
                "data's classes"
            )


def check_shape(images: Tensor, image_shape: Sequence[int]) -> None:
    """Raises ValueError unless each image has the shape that the networks take."""
    if images.shape[1:] != tuple(image_shape):
        raise ValueError(
            f"the images have the shape {tuple(images.shape[1:])}, but the networks take {tuple(image_shape)}; give "
            "the data and the networks the same image_shape"
        )


def _tensors(batch: Any) -> Iterator[Tensor]:
    parts = batch.values() if isinstance(batch, Mapping) else batch if isinstance(batch, tuple | list) else [batch]
    return (part for part in parts if isinstance(part, Tensor))


def input_and_target(batch: Any) -> tuple[Tensor, Tensor]:
    """Returns the two parts of a labelled batch.

    Raises:
        ValueError: when it isn't a pair of tensors, or the targets aren't classes. Of one-hot targets torch would
            compute a loss, and an accuracy of 0.
    """
    match batch:
        case (Tensor() as input, Tensor() as target):
            dimensions = 1 if input.is_floating_point() else 2  # a class for each image, or for each position
            if target.dtype not in (torch.int64, torch.uint8) or target.dim() > dimensions:
                raise ValueError(
                    f"the targets are {target.dtype} of shape {tuple(target.shape)}; write classes of type int64, for "
                    "one-hot targets their argmax(dim=-1)"
                )
            return input, target
    size = f" of {len(batch)}" if isinstance(batch, tuple | list) else ""
    raise ValueError(f"a batch is two tensors, (input, target); this is a {type(batch).__name__}{size}")


def one_hot(module: Any, symbols: Tensor) -> Tensor:
    """Returns the input of `module.network` for symbols of any shape, in the dtype of its weights."""
    return F.one_hot(symbols, module.network.input_size).to(module.readout.weight.dtype)
