"""Improved precision and recall."""

from typing import NamedTuple

import torch
from jaxtyping import Float64
from torch import Tensor

NEIGHBOURS = 3


ROWS_AT_ONCE = 1000
"""How many rows of a table of distances are in memory at a time."""


class Manifold(NamedTuple):
    """Where images of a kind lie: in a ball around each of `points` that reaches to its k-th nearest neighbour."""

    points: Float64[Tensor, "n features"]
    radii: Float64[Tensor, " n"]


def manifold(points: Float64[Tensor, "n features"], k: int = NEIGHBOURS) -> Manifold:
    """The estimate of Kynkäänniemi et al. 2019, section 2.

    Raises:
        ValueError: when there are no `k` neighbours.
    """
    if len(points) <= k:
        raise ValueError(f"{len(points)} images have no {k} neighbours each; take {k + 1} or more")
    # The nearest point of all is the point itself.
    nearest = [torch.cdist(rows, points).topk(k + 1, largest=False).values for rows in points.split(ROWS_AT_ONCE)]
    return Manifold(points, torch.cat(nearest)[:, -1])


class PrecisionRecall(NamedTuple):
    """`precision`: the share of fake images that look real; `recall`: of real images that the fakes cover."""

    precision: float
    recall: float


def precision_and_recall(real: Manifold, fake: Manifold) -> PrecisionRecall:
    """Improved precision and recall (Kynkäänniemi et al. 2019, https://arxiv.org/abs/1904.06991, equation 2).

    Precision alone proves nothing: around a few unusual real images the balls are large, and an empty image, whose
    features are small, may lie in one of them. FID and recall aren't deceived by that.
    """
    is_precise = []
    is_covered = torch.zeros(len(real.points), dtype=torch.bool)
    for points, radii in zip(fake.points.split(ROWS_AT_ONCE), fake.radii.split(ROWS_AT_ONCE), strict=True):
        distances = torch.cdist(points, real.points)  # (rows, n)
        is_precise.append((distances <= real.radii).any(dim=1))
        is_covered |= (distances <= radii[:, None]).any(dim=0)
    return PrecisionRecall(float(torch.cat(is_precise).double().mean()), float(is_covered.double().mean()))
