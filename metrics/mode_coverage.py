"""The class histogram of generated images, and how many of the classes (modes) are covered."""

from collections.abc import Mapping, Sequence
from itertools import count, takewhile
from typing import Any

from jaxtyping import Float
from torch import Tensor

COVERED = 0.2
"""A mode is covered if it has at least this fraction of an even share of the images: of ten classes, 2 %."""


def class_histogram(logits: Float[Tensor, "n classes"]) -> list[float]:
    """Returns the fraction of images of each class, 0 and up. Images without finite logits count for no class."""
    classes = logits.argmax(dim=1)[logits.isfinite().all(dim=1)]
    return [found / len(logits) for found in classes.bincount(minlength=logits.shape[1]).tolist()]


def modes_covered(histogram: Sequence[float], covered: float = COVERED) -> set[int]:
    """Returns the classes that have at least the fraction `covered` of an even share."""
    return {mode for mode, fraction in enumerate(histogram) if fraction >= covered / len(histogram)}


def mode_coverage(histogram: Sequence[float]) -> dict[str, float]:
    """Returns class_0, class_1 and so on, and modes_covered, as they are logged."""
    classes = {f"class_{number}": fraction for number, fraction in enumerate(histogram)}
    return {**classes, "modes_covered": len(modes_covered(histogram))}


def confidence(logits: Float[Tensor, "n classes"]) -> float:
    """Returns the mean of the highest class probability, from 1 / classes to 1."""
    return float(logits.double().softmax(dim=1).amax(dim=1).mean())


def class_fractions(numbers: Mapping[str, Any], suffix: str = "") -> list[float]:
    """Returns class_0, class_1 and so on; with a suffix class_0_real, say."""
    names = (f"class_{number}{suffix}" for number in count())
    return [numbers[name] for name in takewhile(numbers.__contains__, names)]


def class_range(numbers: Mapping[str, Any], suffix: str = "") -> tuple[float, float]:
    """Returns the smallest and the largest of `class_fractions`."""
    fractions = class_fractions(numbers, suffix)
    return min(fractions), max(fractions)
