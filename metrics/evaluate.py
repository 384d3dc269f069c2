"""How good a generator is: all the numbers of `metrics.quality` for one generator and one classifier.

    report(generator, load_classifier(), digits).numbers()    # {"fid": 7.2, "fid_real": 2.5, …}

Compares with the test images. The floor comes from training images, and so do the images that may have been copied.
"""

from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Int, UInt8
from torch import Tensor, nn

from common.seeding import latent_noise
from common.seeding import rng as random_numbers
from metrics.features import Classifier, features_and_logits, scaled
from metrics.fid import FID, FrechetDistance, kernel_distance, statistics
from metrics.memorisation import nearest_neighbour_distances
from metrics.mode_coverage import DIGITS, class_histogram, confidence, histogram_numbers, modes_covered
from metrics.precision_recall import manifold, precision_and_recall
from networks.sampling import draw

SAMPLES = 10_000
MEMORISATION_SAMPLES = 1000
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


class Report(NamedTuple):
    """What is known of a generator's images. `numbers()` has it all by name.

    Attributes:
        fid: to the test images.
        kid: the same question without a bias.
        shares: of the images that show each digit, 0 to 9.
        confidence: of the classifier in its answers, on average.
        precision, recall: with the test images.
        nearest: the median distance to the nearest training image; that of unseen real digits is
        `real_nearest_neighbour_distance`.
            Far below it, the generator copies.
        memorised: the share of images that lie closer to a training image than all but 1 % of unseen real digits do;
            far above 0.01, the generator copies some.
        memorisation_samples: in how many images.
    """

    fid: FID
    kid: float
    shares: list[float]
    confidence: float
    precision: float
    recall: float
    nearest: float
    real_nearest_neighbour_distance: float
    memorised: float
    memorisation_samples: int

    def numbers(self) -> dict[str, float]:
        """By the names under which they are logged."""
        return {
            **self.fid.numbers(),
            "kid": self.kid,
            **histogram_numbers(self.shares),
            "confidence": self.confidence,
            "precision": self.precision,
            "recall": self.recall,
            "nearest": self.nearest,
            "real_nearest_neighbour_distance": self.real_nearest_neighbour_distance,
            "memorised": self.memorised,
            "memorisation_samples": self.memorisation_samples,
        }

    def __str__(self) -> str:
        fid = self.fid
        return (
            f"FID {fid.value:.1f} with {fid.samples:,} samples, {fid.ratio:.1f} times the floor of {fid.floor:.1f}; "
            f"{modes_covered(self.shares)} of {DIGITS} digits alive, precision {self.precision:.2f}, "
            f"recall {self.recall:.2f}, nearest training image at {self.nearest:.1f} "
            f"({self.real_nearest_neighbour_distance:.1f} for real digits), near copies {self.memorised:.1%}"
        )


class RealImages:
    """The test images as one classifier sees them, looked at once for any number of generators.

    Args:
        classifier: see `metrics.features`.
        digits: the images and their splits.
        samples: images of each generator, and training images for the floor. Where the splits are smaller, as those of
            the packaged digits are, as many as there are.

    Raises:
        ValueError: when `samples` is too small for the neighbours that precision and recall look at.
    """

    def __init__(self, classifier: Classifier, digits: SplitDigits, samples: int = SAMPLES) -> None:
        self.classifier = classifier
        self.samples = min(samples, len(digits.test), len(digits.train))
        test = scaled(digits.images[digits.test])
        held_out = scaled(digits.images[digits.train[: self.samples]])
        self.features = features_and_logits(classifier, test).features
        self.frechet_distance = FrechetDistance(
            statistics(self.features), features_and_logits(classifier, held_out).features
        )
        self.manifold = manifold(self.features[: self.samples])
        # A GAN may train on the validation images too, and copy them.
        self.training = digits.images[torch.cat([digits.train, digits.validation])]
        distances = nearest_neighbour_distances(test[:MEMORISATION_SAMPLES], self.training)
        self.nearest, self.very_near = float(distances.median()), float(distances.quantile(VERY_NEAR))

    def report(self, generator: nn.Module, seed: int = 0) -> Report:
        """Measures a generator in eval mode, on noise that depends on `seed` alone."""
        noise = latent_noise(generator, self.samples, random_numbers(seed, "report"))
        images = draw(generator, noise)
        features, logits = features_and_logits(self.classifier, images)
        distances = nearest_neighbour_distances(images[:MEMORISATION_SAMPLES].cpu(), self.training)
        return Report(
            fid=self.frechet_distance(features),
            kid=kernel_distance(self.features, features),
            shares=class_histogram(logits),
            confidence=confidence(logits),
            **precision_and_recall(self.manifold, manifold(features))._asdict(),
            nearest=float(distances.median()),
            real_nearest_neighbour_distance=self.nearest,
            memorised=float((distances < self.very_near).double().mean()),
            memorisation_samples=len(distances),
        )


def report(
    generator: nn.Module, classifier: Classifier, digits: SplitDigits, samples: int = SAMPLES, seed: int = 0
) -> Report:
    """Everything about one generator in eval mode; for several, `RealImages` looks at the real ones once."""
    return RealImages(classifier, digits, samples).report(generator, seed)
