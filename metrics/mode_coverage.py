"""Which classes a generator makes: the class histogram and how many modes are covered."""

from jaxtyping import Float
from torch import Tensor

DIGITS = 10


COVERED = 0.02
"""The share of images from which on a digit counts as alive; a tenth is what real digits have."""


def class_histogram(logits: Float[Tensor, "n 10"]) -> list[float]:
    """Which share of the images shows each digit, 0 to 9. An image without finite logits shows none."""
    digits = logits.argmax(dim=1)[logits.isfinite().all(dim=1)]
    return [count / len(logits) for count in digits.bincount(minlength=DIGITS).tolist()]


def modes_covered(shares: list[float]) -> int:
    """How many digits make up at least 2 % of the images."""
    return sum(share >= COVERED for share in shares)


def histogram_numbers(shares: list[float]) -> dict[str, float]:
    """By the names under which they are logged."""
    each = {f"class_{digit}": share for digit, share in enumerate(shares)}
    return {**each, "modes_covered": modes_covered(shares)}


def confidence(logits: Float[Tensor, "n 10"]) -> float:
    """How sure a classifier is of the digit it reads, from 0.1 to 1, on average over the images."""
    return float(logits.double().softmax(dim=1).amax(dim=1).mean())
