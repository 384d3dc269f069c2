"""How well the class-conditional GAN obeys its classes: python -m benchmarks.gan_classes [--root DATA]

Trains configs/gan_conditional.yaml and configs/gan.yaml for as many batches with each seed. Writes gan_classes.csv, for
each generator and each shipped classifier:

- a row for all images, "all" in the column `class`: every number of `metrics.evaluate`, by ten draws of 10,000.
- a row for each class of the conditional one: `read_as_class`, the share of its samples that the classifier reads as
  the class asked for, and the same share of real test images; FID and recall against the test images of this class, and
  those of disjoint sets of as many training images of this class.

Finished runs and rows that are there are not repeated, interrupted runs resume.
"""

import sys
from argparse import ArgumentParser, Namespace
from functools import partial
from itertools import product
from typing import Any

import torch
from torch import nn

from benchmarks.command import add_mnist, run
from benchmarks.gan import DRAWS, job, length, real_images, train_each
from benchmarks.results import Results
from common.seeding import latent_noise, rng
from metrics.evaluate import RealImages, evaluate
from metrics.features import CLASSIFIERS, features_and_logits
from metrics.mode_coverage import class_histogram
from networks.generator_files import load_generator
from networks.sampling import sample
from scripts.digits import open_digits
from scripts.train_runs import Job

CONDITIONAL = "gan_conditional"
CONFIGS = (CONDITIONAL, "gan")
ALL = "all"
"""What rows of all images have as their class."""
COLUMNS = (
    *("fid", "fid_std", "fid_real", "fid_real_std", "fid_samples", "fid_draws", "fid_real_sets"),
    *("recall", "recall_real", "precision", "precision_real"),
)
"""Of `metrics.evaluate`, what a row of one class has."""


def add_options(parser: ArgumentParser) -> None:
    add_mnist(parser)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--batches", type=int, help="of a run, by default as many as configs/gan.yaml says")


def classes(options: Namespace) -> None:
    """Trains and evaluates by class."""
    data = open_digits(options.root, options.source)
    results = Results(options.out / "gan_classes.csv", "config", "batches", "seed", "classifier", "class")
    results.refuse_other(data_source=data.data_source, fid_draws=DRAWS)
    batches = length("gan", options)
    missing: dict[Job, list[dict[str, Any]]] = {}
    for seed, config in product(options.seeds, CONFIGS):
        kinds = (ALL, *range(data.classes)) if config == CONDITIONAL else (ALL,)
        for name, kind in product(CLASSIFIERS, kinds):
            row = {"config": config, "batches": batches, "seed": seed, "classifier": name, "class": kind}
            if not results.has(**row):
                missing.setdefault(job(config, batches, seed, options), []).append(row)
    for trained, weights in train_each([*missing]):
        generator = load_generator(weights)
        for row in missing[trained]:
            label = None if row["class"] == ALL else row["class"]
            real = real_images(data, row["classifier"], label=label)
            numbers = evaluate(generator, real, draws=DRAWS) if label is None else of_class(generator, real, label)
            results.add({**row, "data_source": data.data_source, **numbers})


def of_class(generator: nn.Module, real: RealImages, label: int) -> dict[str, float]:
    """What a row says of a class; the share of samples is that of as many as all draws have."""
    numbers, n = evaluate(generator, real, draws=DRAWS), DRAWS * real.samples
    images = sample(generator, latent_noise(generator, n, rng(0, "read as its class")), torch.full((n,), label))
    read = class_histogram(features_and_logits(real.classifier, images).logits)[label]
    read_real = class_histogram(real.classifier.head(real.features.float()))[label]
    return {"read_as_class": read, "read_as_class_real": read_real, **{name: numbers[name] for name in COLUMNS}}


main = partial(run, "gan_classes", __doc__, {"classes": classes}, add_options=add_options)

if __name__ == "__main__":
    sys.exit(main())
