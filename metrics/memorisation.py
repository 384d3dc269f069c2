"""Nearest-neighbour distances in pixel space, which show whether a generator copies training images."""

import torch
from jaxtyping import Float, Float64, UInt8
from torch import Tensor

from metrics.precision_recall import ROWS_AT_ONCE


def nearest_neighbour_distances(
    images: Float[Tensor, "n channels height width"], training: UInt8[Tensor, "m channels height width"]
) -> Float64[Tensor, " n"]:
    """Returns the distance of each image in [−1, 1] to the nearest training image: Euclidean, with pixels in [0, 1].

    A copy has distance 0. The median of MNIST's test images is 4.3.
    """
    pixels = ((images + 1) / 2).flatten(1)
    smallest = torch.full((len(pixels),), torch.inf)
    nearest = torch.zeros(len(pixels), dtype=torch.long)
    for start in range(0, len(training), ROWS_AT_ONCE):
        rows = training[start : start + ROWS_AT_ONCE].flatten(1).float() / 255
        distances, indices = torch.cdist(pixels, rows).min(dim=1)
        nearest = torch.where(distances < smallest, start + indices, nearest)
        smallest = torch.minimum(smallest, distances)
    # cdist uses matrix products, which are inexact for small distances in float32.
    exact: Tensor = (pixels.double() - training[nearest].flatten(1).double() / 255).norm(dim=1)
    return exact
