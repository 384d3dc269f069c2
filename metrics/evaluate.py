"""All metrics of one generator, computed with one classifier.

    real = RealImages(load_classifier(), splits)
    evaluate(generator, real, draws=10)    # {"fid": 5.5, "fid_real": 2.9, …}

FID, KID, precision and recall compare generated images with the images of one split, the reference. The same numbers of
real images, measured on disjoint sets of training images, stand beside them. Memorisation is measured with the images
that generators are trained on.

A class-conditional generator makes images of each class as often as the data have it, because FID is higher for other
frequencies.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from common.seeding import latent_noise, rng
from metrics.features import Classifier, Splits, features_and_logits, scaled
from metrics.fid import FrechetDistance, kernel_distance, permuted, reference_statistics
from metrics.memorisation import nearest_neighbour_distances
from metrics.mode_coverage import class_fractions, class_histogram, class_range, confidence, mode_coverage
from metrics.precision_recall import manifold, precision_and_recall
from networks.conditional import classes_of
from networks.sampling import sample

Evaluation = dict[str, float]
"""The numbers of `evaluate` by the names under which they are logged."""

Reference = Literal["validation", "test"]

SAMPLES = 10_000
REAL_SETS = 10
"""The highest number of sets of training images whose FIDs are averaged."""
MEMORISATION_SAMPLES = 1000
"""How many of the images are compared with every training image, the slowest part."""
CLOSE = 0.01
"""The fraction of real reference images whose distance to the nearest training image counts as close."""


class RealImages:
    """What `evaluate` needs of the real images, computed once for any number of generators.

    Args:
        classifier: see `metrics.features`.
        splits: the images and their splits. A subset of a split is a random one, and always the same.
        samples: number of generated images in a draw, and of training images in a set; at most as many as the smaller
            of the reference and the training split has.
        reference: the split that generated images are compared with: "validation" to choose a generator, "test" to
            report how good it is.

    Raises:
        ValueError: when `samples` is too small for the nearest neighbours of precision and recall.
    """

    def __init__(
        self,
        classifier: Classifier,
        splits: Splits,
        samples: int = SAMPLES,
        reference: Reference = "test",
    ) -> None:
        rows, train = permuted(getattr(splits, reference)), permuted(splits.train)
        self.classifier = classifier
        self.splits = splits
        self.samples = min(samples, len(rows), len(train))
        images = scaled(splits.images[rows])
        self.features = features_and_logits(classifier, images).features
        self.manifold = manifold(self.features[: self.samples])
        sets = [splits.images[chosen] for chosen in train.split(self.samples) if len(chosen) == self.samples]
        real = [features_and_logits(classifier, scaled(each)).features for each in sets[:REAL_SETS]]
        self.frechet_distance = FrechetDistance(reference_statistics(self.features), *real)
        first = self.compare(scaled(sets[0]))
        self.numbers: Evaluation = {
            **_mean_and_std("fid_real", self.frechet_distance.fids_real),
            "fid_real_sets": len(real),
            **{f"{name}_real": value for name, value in first.items() if not name.startswith("fid")},
        }
        self.training = splits.images[splits.train]
        distances = nearest_neighbour_distances(images[:MEMORISATION_SAMPLES], self.training)
        self.nearest_neighbour_distance = float(distances.median())
        self.close_distance = float(distances.quantile(CLOSE))

    def compare(self, images: Float[Tensor, "n channels height width"]) -> Evaluation:
        """Returns all that the classifier measures of one draw of `samples` images in [−1, 1]: FID, KID, the class
        histogram, confidence, precision and recall, by the names of `evaluate`.
        """
        features, logits = features_and_logits(self.classifier, images)
        return {
            **self.frechet_distance(features),
            "kid": kernel_distance(self.features, features),
            **mode_coverage(class_histogram(logits)),
            "confidence": confidence(logits),
            **precision_and_recall(self.manifold, manifold(features))._asdict(),
        }


def evaluate(generator: nn.Module, real: RealImages, seed: int = 0, draws: int = 1) -> Evaluation:
    """Evaluates a generator in eval mode on noise that depends on `seed` alone.

    Args:
        draws: how many times `real.samples` images are generated. FID is the mean; all else is of the first draw.

    Returns:
        fid, fid_real, fid_over_real, fid_samples: see `metrics.fid.FrechetDistance`.
        fid_draws, fid_real_sets: how many draws, and sets of training images, `fid` and `fid_real` are the means of.
        fid_std, fid_real_std: the standard deviations, where there are several.
        kid: an unbiased alternative to FID.
        class_0, class_1 and so on, modes_covered: see `metrics.mode_coverage`.
        confidence: the mean of the classifier's highest class probability.
        precision, recall: see `metrics.precision_recall`.
        kid_real, class_0_real … recall_real: the same of as many training images.
        nearest_neighbour_distance, real_nearest_neighbour_distance: the median distance of generated images, and of
            real reference images, to the nearest training image. The first far below the second means copying.
        memorised: the fraction of images closer to a training image than 99 % of the reference images are. Far above
            0.01 means that some images are copies.
        memorisation_samples: the number of images that the last three are measured on.
    """

    labels = training_labels(generator, real.splits, real.samples)

    def draw(number: int) -> Float[Tensor, "n channels height width"]:
        return sample(generator, latent_noise(generator, real.samples, rng(seed, "report", number)), *labels)

    images = draw(0)
    first = real.compare(images)
    others = (features_and_logits(real.classifier, draw(number)).features for number in range(1, draws))
    fid = _mean_and_std("fid", [first["fid"], *(real.frechet_distance(features)["fid"] for features in others)])
    distances = nearest_neighbour_distances(images[:MEMORISATION_SAMPLES].cpu(), real.training)
    return {
        **first,
        **fid,
        "fid_over_real": fid["fid"] / first["fid_real"],
        "fid_draws": draws,
        **real.numbers,
        "nearest_neighbour_distance": float(distances.median()),
        "real_nearest_neighbour_distance": real.nearest_neighbour_distance,
        "memorised": float((distances < real.close_distance).double().mean()),
        "memorisation_samples": len(distances),
    }


def training_labels(generator: nn.Module, splits: Splits, n: int) -> tuple[Int[Tensor, " n"], ...]:
    """Returns the labels of `n` random training images, always the same, for a class-conditional generator.

    The tuple is empty for an unconditional generator, and for splits without `labels`.
    """
    labels = getattr(splits, "labels", None)
    if labels is None or classes_of(generator) == 0:
        return ()
    rows = permuted(splits.train)
    return (labels[rows[torch.arange(n) % len(rows)]],)


def summary(evaluation: Evaluation) -> str:
    """Returns an evaluation in one line."""
    e = evaluation
    (low, high), (low_real, high_real) = class_range(e), class_range(e, "_real")
    return (
        f"FID {e['fid']:.3g} with {e['fid_samples']:,} samples, {e['fid_over_real']:.1f} times the real-data FID of "
        f"{e['fid_real']:.3g}; {e['modes_covered']} of {len(class_fractions(e))} modes covered, memorised "
        f"{e['memorised']:.1%}; real images in brackets: classes {low:.0%} to {high:.0%} ({low_real:.0%} to "
        f"{high_real:.0%}), precision {e['precision']:.2f} ({e['precision_real']:.2f}), recall {e['recall']:.2f} "
        f"({e['recall_real']:.2f}), nearest-neighbour distance {e['nearest_neighbour_distance']:.1f} "
        f"({e['real_nearest_neighbour_distance']:.1f})"
    )


def _mean_and_std(name: str, values: Sequence[float]) -> Evaluation:
    """The mean by this name, and where there are several values, their standard deviation."""
    several = torch.tensor(values, dtype=torch.float64)
    spread = {f"{name}_std": float(several.std())} if len(values) > 1 else {}
    return {name: float(several.mean()), **spread}
