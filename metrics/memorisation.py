"""Whether a generator copies training images: nearest-neighbour distances on pixels."""

import torch
from jaxtyping import Float, Float64, UInt8
from torch import Tensor

from metrics.precision_recall import ROWS_AT_ONCE


def nearest_neighbour_distances(
    images: Float[Tensor, "n 1 28 28"], training: UInt8[Tensor, "m 28 28"]
) -> Float64[Tensor, " n"]:
    """How far each image in [−1, 1] is from the nearest training image: Euclidean, in pixels from 0 to 1.

    0 is a copy; the median of MNIST's test images is 4.4.
    """
    pixels = ((images + 1) / 2).flatten(1)
    smallest = torch.full((len(pixels),), torch.inf)
    nearest = torch.zeros(len(pixels), dtype=torch.long)
    for start in range(0, len(training), ROWS_AT_ONCE):
        rows = training[start : start + ROWS_AT_ONCE].flatten(1).float() / 255
        distances, indices = torch.cdist(pixels, rows).min(dim=1)
        nearest = torch.where(distances < smallest, start + indices, nearest)
        smallest = torch.minimum(smallest, distances)
    # Through matrix products float32 loses the small distances, of all things.
    exact: Tensor = (pixels.double() - training[nearest].flatten(1).double() / 255).norm(dim=1)
    return exact
