"""Improved precision and recall (Kynkäänniemi et al. 2019, https://arxiv.org/abs/1904.06991)."""

from typing import NamedTuple

import torch
from jaxtyping import Float64
from torch import Tensor

NEIGHBOURS = 3
ROWS_AT_ONCE = 1000
"""Rows of a distance matrix that are in memory at a time."""


class Manifold(NamedTuple):
    """The paper's estimate of a manifold: a ball around each feature vector, up to its k-th nearest neighbour."""

    points: Float64[Tensor, "n features"]
    radii: Float64[Tensor, " n"]


class PrecisionRecall(NamedTuple):
    """Precision: the fraction of fake images in the real manifold. Recall: of real images in the fake manifold."""

    precision: float
    recall: float


def precision_and_recall(real: Manifold, fake: Manifold) -> PrecisionRecall:
    """Computes equation 2 of the paper.

    Precision alone can mislead: the balls around a few unusual real images are large, and an empty image, whose
    features are small, may lie in one of them. FID and recall detect that.
    """
    is_precise = []
    is_covered = torch.zeros(len(real.points), dtype=torch.bool)
    for points, radii in zip(fake.points.split(ROWS_AT_ONCE), fake.radii.split(ROWS_AT_ONCE), strict=True):
        distances = torch.cdist(points, real.points)  # (rows, n)
        is_precise.append((distances <= real.radii).any(dim=1))
        is_covered |= (distances <= radii[:, None]).any(dim=0)
    return PrecisionRecall(float(torch.cat(is_precise).double().mean()), float(is_covered.double().mean()))


def manifold(points: Float64[Tensor, "n features"], k: int = NEIGHBOURS) -> Manifold:
    """Estimates the manifold of a set of images by their features (section 2 of the paper).

    Raises:
        ValueError: when there are no more than `k` images.
    """
    if len(points) <= k:
        raise ValueError(f"{len(points)} images have no {k} neighbours each; take {k + 1} or more")
    # k + 1, because the nearest point is the point itself.
    nearest = [torch.cdist(rows, points).topk(k + 1, largest=False).values for rows in points.split(ROWS_AT_ONCE)]
    return Manifold(points, torch.cat(nearest)[:, -1])
