"""Checks of constructor arguments, with messages that say what to write instead."""

from collections.abc import Iterable, Sequence


def check_positive(**sizes: int | Sequence[int]) -> None:
    """Raises ValueError for a size below 1, for a list that holds one, and for an empty list."""
    for name, size in sizes.items():
        if min(size if isinstance(size, Sequence) else [size], default=0) < 1:
            raise ValueError(f"{name} is {size}; write {'numbers of ' if isinstance(size, Sequence) else ''}1 or more")


def check_classes(classes: int) -> None:
    """Raises ValueError for a number of classes below 0, which is that of an unconditional network."""
    if classes < 0:
        raise ValueError(f"classes is {classes}; write the number of the data's classes, or 0 for none")


def check_choice(name: str, value: str, choices: Iterable[str]) -> None:
    """Raises ValueError unless `value` is one of the `choices`."""
    if value not in choices:
        raise ValueError(f"{name} is '{value}'; write one of {', '.join(choices)}")


def check_image_shape(network: str, image_shape: Sequence[int], multiple: int = 1) -> tuple[int, int, int]:
    """Returns the shape of an image: channels, height and width.

    Args:
        network: the name of the class that takes the argument.
        multiple: what the network needs height and width to be a multiple of.

    Raises:
        ValueError: unless it has these three sizes.
    """
    if len(image_shape) != 3 or min(image_shape) < 1:
        raise ValueError(f"image_shape is {[*image_shape]}; write channels, height and width, such as [1, 28, 28]")
    channels, height, width = image_shape
    if height % multiple or width % multiple:
        raise ValueError(
            f"image_shape is {[*image_shape]}, but {network} needs a height and a width that are multiples of "
            f"{multiple}; write a shape such as {[channels, height + -height % multiple, width + -width % multiple]}"
        )
    return channels, height, width
