"""All metrics of one generator, computed with one classifier.

    real = RealImages(load_classifier(), digits)
    evaluate(generator, real)    # {"fid": 7.2, "fid_real": 2.5, …}

FID, KID, precision and recall compare generated images with the test images. The real-data FID is that of training
images. Memorisation is measured with the training and validation images.
"""

import torch
from torch import nn

from common.seeding import latent_noise, rng
from metrics.features import Classifier, SplitDigits, features_and_logits, scaled
from metrics.fid import FrechetDistance, kernel_distance, reference_statistics
from metrics.memorisation import nearest_neighbour_distances
from metrics.mode_coverage import DIGITS, class_histogram, confidence, mode_coverage
from metrics.precision_recall import manifold, precision_and_recall
from networks.sampling import sample

Evaluation = dict[str, float]
"""The numbers of `evaluate` by the names under which they are logged."""

SAMPLES = 10_000
MEMORISATION_SAMPLES = 1000
"""How many of the images are compared with every training image, the slowest part."""
CLOSE = 0.01
"""The fraction of real test images whose distance to the nearest training image counts as close."""


class RealImages:
    """What `evaluate` needs of the real images, computed once for any number of generators.

    Args:
        classifier: see `metrics.features`.
        digits: the images and their splits.
        samples: number of generated images, and of training images for the real-data FID; at most as many as the
            smaller of the training and the test split has.

    Raises:
        ValueError: when `samples` is too small for the nearest neighbours of precision and recall.
    """

    def __init__(self, classifier: Classifier, digits: SplitDigits, samples: int = SAMPLES) -> None:
        self.classifier = classifier
        self.samples = min(samples, len(digits.test), len(digits.train))
        test = scaled(digits.images[digits.test])
        held_out = scaled(digits.images[digits.train[: self.samples]])
        self.features = features_and_logits(classifier, test).features
        self.frechet_distance = FrechetDistance(
            reference_statistics(self.features), features_and_logits(classifier, held_out).features
        )
        self.manifold = manifold(self.features[: self.samples])
        # A GAN may train on the validation images as well, and copy them.
        self.training = digits.images[torch.cat([digits.train, digits.validation])]
        distances = nearest_neighbour_distances(test[:MEMORISATION_SAMPLES], self.training)
        self.nearest_neighbour_distance = float(distances.median())
        self.close_distance = float(distances.quantile(CLOSE))


def evaluate(generator: nn.Module, real: RealImages, seed: int = 0) -> Evaluation:
    """Evaluates a generator in eval mode on noise that depends on `seed` alone.

    Returns:
        fid, fid_real, fid_over_real, fid_samples: see `metrics.fid.FrechetDistance`.
        kid: an unbiased alternative to FID.
        class_0 … class_9, modes_covered: see `metrics.mode_coverage`.
        confidence: the mean of the classifier's highest class probability.
        precision, recall: see `metrics.precision_recall`.
        nearest_neighbour_distance, real_nearest_neighbour_distance: the median distance of generated images, and of
            real test images, to the nearest training image. The first far below the second means copying.
        memorised: the fraction of images closer to a training image than 99 % of the test images are. Far above 0.01
            means that some images are copies.
        memorisation_samples: the number of images that the last three are measured on.
    """
    images = sample(generator, latent_noise(generator, real.samples, rng(seed, "report")))
    features, logits = features_and_logits(real.classifier, images)
    distances = nearest_neighbour_distances(images[:MEMORISATION_SAMPLES].cpu(), real.training)
    return {
        **real.frechet_distance(features),
        "kid": kernel_distance(real.features, features),
        **mode_coverage(class_histogram(logits)),
        "confidence": confidence(logits),
        **precision_and_recall(real.manifold, manifold(features))._asdict(),
        "nearest_neighbour_distance": float(distances.median()),
        "real_nearest_neighbour_distance": real.nearest_neighbour_distance,
        "memorised": float((distances < real.close_distance).double().mean()),
        "memorisation_samples": len(distances),
    }


def summary(evaluation: Evaluation) -> str:
    """Returns an evaluation in one line."""
    e = evaluation
    return (
        f"FID {e['fid']:.1f} with {e['fid_samples']:,} samples, {e['fid_over_real']:.1f} times the real-data FID of "
        f"{e['fid_real']:.1f}; {e['modes_covered']} of {DIGITS} modes covered, precision {e['precision']:.2f}, "
        f"recall {e['recall']:.2f}, nearest-neighbour distance {e['nearest_neighbour_distance']:.1f} "
        f"({e['real_nearest_neighbour_distance']:.1f} for real digits), memorised {e['memorised']:.1%}"
    )
