"""Fréchet and kernel distances between the features of two sets of images."""

import warnings
from typing import NamedTuple

import torch
from jaxtyping import Float64, Int
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from common.seeding import reseed

KID_SUBSET = 1000


class FID(NamedTuple):
    """A Fréchet distance with what it needs to be read: it falls with the number of samples, and never to 0.

    `value` is that of `samples` images; `floor` that of as many real images, none of them in the reference.
    """

    value: float
    floor: float
    samples: int

    @property
    def ratio(self) -> float:
        """How many times farther from real images than other real images are; 1 is as good as it gets."""
        return self.value / self.floor

    def numbers(self) -> dict[str, float]:
        """By the names under which they are logged."""
        return {"fid": self.value, "fid_real": self.floor, "fid_over_real": self.ratio, "fid_samples": self.samples}


class Statistics(NamedTuple):
    """All that FID keeps of a set of images: the sum of their features, that of the outer products, how many."""

    features_sum: Float64[Tensor, " features"]
    features_cov_sum: Float64[Tensor, "features features"]
    features_num_samples: Int[Tensor, ""]


def statistics(features: Float64[Tensor, "n features"]) -> Statistics:
    """What `FrechetDistance` has to know of its reference."""
    metric = _frechet_metric(features.shape[1])
    metric.update(features, real=True)
    return Statistics(metric.real_features_sum, metric.real_features_cov_sum, metric.real_features_num_samples)


class FrechetDistance:
    """FID (Heusel et al. 2017, https://arxiv.org/abs/1706.08500) of samples to a reference that stays.

    In float64 on the CPU. `distance(features)` raises ValueError unless there are as many as for the floor.

    Args:
        reference: the `statistics` of real images.
        held_out: features of other real images, which give the floor.

    Raises:
        ValueError: when fewer than two images are held out.
    """

    def __init__(self, reference: Statistics, held_out: Float64[Tensor, "n features"]) -> None:
        if len(held_out) < 2:
            raise ValueError(f"{len(held_out)} images are held out for FID's floor; it needs 2 or more")
        self.metric = _frechet_metric(held_out.shape[1])
        for name, value in reference._asdict().items():
            setattr(self.metric, f"real_{name}", value)
        self.samples = len(held_out)
        self.floor = self._to_reference(held_out)

    def __call__(self, features: Float64[Tensor, "n features"]) -> FID:
        if len(features) != self.samples:
            raise ValueError(
                f"the floor is that of {self.samples:,} images, so {len(features):,} can't be compared with it; "
                f"take {self.samples:,} samples"
            )
        return FID(self._to_reference(features), self.floor, self.samples)

    def _to_reference(self, features: Float64[Tensor, "n features"]) -> float:
        if not features.isfinite().all():  # where torch would find no eigenvalues
            return float("nan")
        self.metric.reset()
        self.metric.update(features, real=False)
        return float(self.metric.compute())


def _frechet_metric(features: int) -> FrechetInceptionDistance:
    as_given = nn.Identity()
    as_given.num_features = features  # type: ignore[assignment]
    # One process measures, so it must not wait for the others.
    return FrechetInceptionDistance(as_given, reset_real_features=False, sync_on_compute=False)


def kernel_distance(real: Float64[Tensor, "n features"], fake: Float64[Tensor, "m features"]) -> float:
    """KID (Bińkowski et al. 2018, https://arxiv.org/abs/1801.01401), the mean over 100 subsets of at most 1,000 images.

    Has no bias: for images of one distribution it lies around 0, on either side. The subsets are the same every time.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Metric `Kernel Inception Distance` will save all")
        size = min(KID_SUBSET, len(real), len(fake))
        metric = KernelInceptionDistance(nn.Identity(), subset_size=size, sync_on_compute=False)
    metric.update(real, real=True)
    metric.update(fake, real=False)
    with torch.random.fork_rng(devices=[]):
        reseed(0, torch.device("cpu"))
        mean, _ = metric.compute()
    return float(mean)
