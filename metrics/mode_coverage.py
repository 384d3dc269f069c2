"""The class histogram of generated images, and how many of the ten classes (modes) are covered."""

from collections.abc import Mapping
from typing import Any

from jaxtyping import Float
from torch import Tensor

DIGITS = 10
COVERED = 0.02
"""A mode is covered if at least this fraction of the images belongs to it; for real digits it is about 0.1."""


def class_histogram(logits: Float[Tensor, "n 10"]) -> list[float]:
    """Returns the fraction of images of each digit, 0 to 9. Images without finite logits count for no digit."""
    digits = logits.argmax(dim=1)[logits.isfinite().all(dim=1)]
    return [count / len(logits) for count in digits.bincount(minlength=DIGITS).tolist()]


def modes_covered(histogram: list[float]) -> int:
    """Returns the number of digits with a fraction of at least `COVERED`."""
    return sum(fraction >= COVERED for fraction in histogram)


def mode_coverage(histogram: list[float]) -> dict[str, float]:
    """Returns class_0 … class_9 and modes_covered, as they are logged."""
    classes = {f"class_{digit}": fraction for digit, fraction in enumerate(histogram)}
    return {**classes, "modes_covered": modes_covered(histogram)}


def confidence(logits: Float[Tensor, "n 10"]) -> float:
    """Returns the mean of the highest class probability, from 0.1 to 1."""
    return float(logits.double().softmax(dim=1).amax(dim=1).mean())


def class_range(numbers: Mapping[str, Any], suffix: str = "") -> tuple[float, float]:
    """Returns the smallest and the largest of class_0 … class_9, with a suffix those of class_0_real, say."""
    fractions = [numbers[f"class_{digit}{suffix}"] for digit in range(DIGITS)]
    return min(fractions), max(fractions)
