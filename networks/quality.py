"""What makes generated digits good, in numbers.

Measured on features that a judge (`networks.judge`) takes from images: FID with its floor, KID, precision and recall.
On its answers: how many images show each digit. On pixels: whether training images were copied.
`networks.quality_report` puts them together for one generator.
"""

import warnings
from typing import NamedTuple

import torch
from jaxtyping import Float, Float64, Int, UInt8
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from networks.seeding import reseed

DIGITS = 10
ALIVE = 0.02
"""The share of images from which on a digit counts as alive; a tenth is what real digits have."""

KID_SUBSET = 1000
NEIGHBOURS = 3
ROWS_AT_ONCE = 1000
"""How many rows of a table of distances are in memory at a time."""


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
        return {"fid": self.value, "fid_floor": self.floor, "fid_ratio": self.ratio, "fid_samples": self.samples}


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


def digit_shares(logits: Float[Tensor, "n 10"]) -> list[float]:
    """Which share of the images shows each digit, 0 to 9. An image without finite logits shows none."""
    digits = logits.argmax(dim=1)[logits.isfinite().all(dim=1)]
    return [count / len(logits) for count in digits.bincount(minlength=DIGITS).tolist()]


def digits_alive(shares: list[float]) -> int:
    """How many digits make up at least 2 % of the images."""
    return sum(share >= ALIVE for share in shares)


def share_numbers(shares: list[float]) -> dict[str, float]:
    """By the names under which they are logged."""
    each = {f"share_{digit}": share for digit, share in enumerate(shares)}
    return {**each, "digits_alive": digits_alive(shares)}


def confidence(logits: Float[Tensor, "n 10"]) -> float:
    """How sure a judge is of the digit it reads, from 0.1 to 1, on average over the images."""
    return float(logits.double().softmax(dim=1).amax(dim=1).mean())


def nearest_distances(images: Float[Tensor, "n 1 28 28"], training: UInt8[Tensor, "m 28 28"]) -> Float64[Tensor, " n"]:
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
