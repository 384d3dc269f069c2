"""Real images made worse in known ways, by which `python -m benchmarks.gan classifiers` checks a classifier."""

from collections.abc import Iterator

from jaxtyping import Float
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

from datamodules.images import SplitImages
from metrics.features import scaled
from metrics.fid import permuted

SIGMAS = (0.5, 1.0)
"""Standard deviations of the blur, in pixels."""
DROPPED = (1, 5)
"""How many classes are left out, from 9 downwards."""
COPIES = (10, 100)
"""How often each image occurs."""


def degraded_images(
    splits: SplitImages, size: int
) -> Iterator[tuple[str, str, Float[Tensor, "size channels height width"]]]:
    """Yields (kind of degradation, description, images in [−1, 1]); of each kind the lighter one first.

    Args:
        splits: the images; those of the training split are degraded.
        size: number of images in each set.
    """
    train = permuted(splits.train)
    images = scaled(splits.images[train[:size]])
    yield "none", "real", images
    for sigma in SIGMAS:
        yield "blurred", f"blurred, σ = {sigma:g} pixels", gaussian_blur(images, [9, 9], [sigma, sigma])
    for number in DROPPED:
        kept = train[splits.labels[train] < 10 - number]
        yield "classes dropped", f"{10 - number} of 10 classes", scaled(splits.images[kept[:size]])
    for copies in COPIES:
        different = size // copies
        yield "duplicated", f"{different:,} images, {copies} times each", images[:different].repeat(copies, 1, 1, 1)
