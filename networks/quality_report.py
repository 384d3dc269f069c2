"""How good a generator is: all the numbers of `networks.quality` for one generator and one judge.

    report(generator, load_judge(), digits).numbers()    # {"fid": 7.2, "fid_floor": 2.5, …}

Compares with the test images. The floor comes from training images, and so do the images that may have been copied.
"""

from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Float64, Int, UInt8
from torch import Tensor, nn

from networks.judge import Judge
from networks.quality import (
    DIGITS,
    FID,
    FrechetDistance,
    confidence,
    digit_shares,
    digits_alive,
    kernel_distance,
    manifold,
    nearest_distances,
    precision_and_recall,
    share_numbers,
    statistics,
)
from networks.sampling import BATCH, draw
from networks.seeding import generator as random_numbers
from networks.seeding import latent_noise

SAMPLES = 10_000
COPIES_SOUGHT = 1000
"""How many of the images are compared with every training image, which takes longest."""
VERY_NEAR = 0.01
"""The share of real digits that lie closer to a training image than what counts as near."""


@runtime_checkable
class SplitDigits(Protocol):
    """Images (0 is paper, 255 is ink) and which rows belong to which split, as `datamodules.MNISTDataModule` has."""

    @property
    def images(self) -> UInt8[Tensor, "size 28 28"]: ...
    @property
    def train(self) -> Int[Tensor, " train"]: ...
    @property
    def validation(self) -> Int[Tensor, " validation"]: ...
    @property
    def test(self) -> Int[Tensor, " test"]: ...


class Impression(NamedTuple):
    """What a judge makes of images, on the CPU."""

    features: Float64[Tensor, "n 128"]
    logits: Float[Tensor, "n 10"]


def impression(judge: Judge, images: Float[Tensor, "n 1 28 28"]) -> Impression:
    """Shows the judge images in [−1, 1], on whatever device it is."""
    device = next(judge.parameters()).device
    with torch.no_grad():
        features = torch.cat([judge.features(batch.to(device)) for batch in images.split(BATCH)])
        return Impression(features.cpu().double(), judge.head(features).cpu())  # not every device knows float64


def scaled(images: UInt8[Tensor, "n 28 28"]) -> Float[Tensor, "n 1 28 28"]:
    """Real images from 0 to 255 as a judge wants them, in [−1, 1]."""
    return images[:, None].float() / 127.5 - 1


class Report(NamedTuple):
    """What is known of a generator's images. `numbers()` has it all by name.

    Attributes:
        fid: to the test images.
        kid: the same question without a bias.
        shares: of the images that show each digit, 0 to 9.
        confidence: of the judge in its answers, on average.
        precision, recall: with the test images.
        nearest: the median distance to the nearest training image; that of unseen real digits is `nearest_of_real`.
            Far below it, the generator copies.
        near_copies: the share of images that lie closer to a training image than all but 1 % of unseen real digits do;
            far above 0.01, the generator copies some.
        copies_sought: in how many images.
    """

    fid: FID
    kid: float
    shares: list[float]
    confidence: float
    precision: float
    recall: float
    nearest: float
    nearest_of_real: float
    near_copies: float
    copies_sought: int

    def numbers(self) -> dict[str, float]:
        """By the names under which they are logged."""
        return {
            **self.fid.numbers(),
            "kid": self.kid,
            **share_numbers(self.shares),
            "confidence": self.confidence,
            "precision": self.precision,
            "recall": self.recall,
            "nearest": self.nearest,
            "nearest_of_real": self.nearest_of_real,
            "near_copies": self.near_copies,
            "copies_sought": self.copies_sought,
        }

    def __str__(self) -> str:
        fid = self.fid
        return (
            f"FID {fid.value:.1f} with {fid.samples:,} samples, {fid.ratio:.1f} times the floor of {fid.floor:.1f}; "
            f"{digits_alive(self.shares)} of {DIGITS} digits alive, precision {self.precision:.2f}, "
            f"recall {self.recall:.2f}, nearest training image at {self.nearest:.1f} "
            f"({self.nearest_of_real:.1f} for real digits), near copies {self.near_copies:.1%}"
        )


class RealDigits:
    """The test images as one judge sees them, looked at once for any number of generators.

    Args:
        judge: see `networks.judge`.
        digits: the images and their splits.
        samples: images of each generator, and training images for the floor. Where the splits are smaller, as those of
            the packaged digits are, as many as there are.

    Raises:
        ValueError: when `samples` is too small for the neighbours that precision and recall look at.
    """

    def __init__(self, judge: Judge, digits: SplitDigits, samples: int = SAMPLES) -> None:
        self.judge = judge
        self.samples = min(samples, len(digits.test), len(digits.train))
        test = scaled(digits.images[digits.test])
        held_out = scaled(digits.images[digits.train[: self.samples]])
        self.features = impression(judge, test).features
        self.frechet_distance = FrechetDistance(statistics(self.features), impression(judge, held_out).features)
        self.manifold = manifold(self.features[: self.samples])
        # A GAN may train on the validation images too, and copy them.
        self.training = digits.images[torch.cat([digits.train, digits.validation])]
        distances = nearest_distances(test[:COPIES_SOUGHT], self.training)
        self.nearest, self.very_near = float(distances.median()), float(distances.quantile(VERY_NEAR))

    def report(self, generator: nn.Module, seed: int = 0) -> Report:
        """Measures a generator in eval mode, on noise that depends on `seed` alone."""
        noise = latent_noise(generator, self.samples, random_numbers(seed, "report"))
        images = draw(generator, noise)
        features, logits = impression(self.judge, images)
        distances = nearest_distances(images[:COPIES_SOUGHT].cpu(), self.training)
        return Report(
            fid=self.frechet_distance(features),
            kid=kernel_distance(self.features, features),
            shares=digit_shares(logits),
            confidence=confidence(logits),
            **precision_and_recall(self.manifold, manifold(features))._asdict(),
            nearest=float(distances.median()),
            nearest_of_real=self.nearest,
            near_copies=float((distances < self.very_near).double().mean()),
            copies_sought=len(distances),
        )


def report(generator: nn.Module, judge: Judge, digits: SplitDigits, samples: int = SAMPLES, seed: int = 0) -> Report:
    """Everything about one generator in eval mode; for several, `RealDigits` looks at the real ones once."""
    return RealDigits(judge, digits, samples).report(generator, seed)
