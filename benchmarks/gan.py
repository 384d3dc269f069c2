"""How good generators get: python -m benchmarks.gan [classifiers] [recipes] [long] [little] [stacked] [--root DATA]

- classifiers: how each classifier ranks degraded real images. It trains nothing. Writes classifier_checks.csv.
- recipes: those of `RECIPES` for as many batches as take the time of configs/gan.yaml. What a batch of each takes is
  measured first, by interleaved timing with one thread and nothing else running. Writes gan_recipes_speed.csv,
  gan_recipes.csv and a picture of 64 images per recipe, of seed 1.
- long: configs/gan_long.yaml. Writes gan_long.csv and gan_long.png.
- little: configs/gan.yaml on the 3,500 packaged digits, as `make demo` trains it, with shifts of all images that D sees
  by up to 0, 1, 2 and 4 pixels (DiffAugment, Zhao et al. 2020, arXiv 2006.10738), for 4,000 batches as in the demo, and
  12,000. The packaged digits are too few to measure with, so generators are compared with MNIST: digit_cnn chooses the
  shift on its 5,000 held-out images without the 328 that are packaged for training, tables are of its test images.
  Memorisation is not measured here; `fit` and `test` on packaged digits measure it. Writes gan_little.csv.
- stacked: configs/gan_stacked.yaml by the protocol of `metrics.stacked_modes`, beside as many stacks of test images.
  The recipe was chosen with digit_cnn, beside stacks of held-out images. Writes gan_stacked.csv and gan_stacked.png.

Trainings run two at a time, with one thread each: what they reach depends on the batches, not on the time. Finished
runs and rows that are there are not repeated, interrupted runs resume. But for `stacked`, both shipped classifiers
evaluate ten draws of 10,000 images of each generator against the 10,000 test images; docs/results.md has the protocol.
"""

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from functools import cache, partial
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any, get_args

import torch
from jaxtyping import UInt8
from torch import Tensor, nn

from benchmarks.command import add_mnist, data_settings, run
from benchmarks.degraded_images import degraded_images
from benchmarks.results import Results
from benchmarks.timing import batches_per_second, fit
from callbacks.interpolation_strip import GENERATOR_FILE
from datamodules import MNISTDataModule
from metrics.evaluate import RealImages, Reference
from metrics.evaluate import evaluate as evaluate_with
from metrics.features import CLASSIFIERS, load_classifier
from metrics.stacked_modes import SAMPLES, evaluate_modes, real_modes
from networks.generator_files import load_generator
from scripts import sample
from scripts.digits import open_digits
from scripts.train_runs import WORKERS, Job, read_shipped, train
from twofold.run_folder import runs_root

RECIPES = ("gan", "r3gan", "gan_template", "dcgan", "wgan_gp", "hinge_sn")
ROUNDS, TURNS = 5, 4
DRAWS = 10
DRAWN = 1
"""The seed of which there is a picture."""
BATCHES_OF_LITTLE = (4000, 12_000)
SHIFTS = (0, 1, 2, 4)


def add_options(parser: ArgumentParser) -> None:
    add_mnist(parser)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--batches", type=int, help="of a run, by default as many as its config says")
    parser.add_argument("--recipes", nargs="+", default=RECIPES, choices=RECIPES, help="configs for `recipes`")
    parser.add_argument("--samples", type=int, default=SAMPLES, help="images for `stacked`; KL depends on it")


def classifiers(options: Namespace) -> None:
    """How each classifier ranks degraded real images."""
    data = open_digits(options.root, options.source)
    results = Results(options.out / "classifier_checks.csv", "classifier", "images")
    results.refuse_other(data_source=data.data_source)
    for name in CLASSIFIERS:
        real = real_images(data, name)
        for kind, described, images in degraded_images(data.splits, real.samples):
            columns = {"classifier": name, "degradation": kind, "images": described, "data_source": data.data_source}
            results.add({**columns, **real.compare(images)})


def recipes(options: Namespace) -> None:
    """All recipes at equal time."""
    data = open_digits(options.root, options.source)
    results = Results(options.out / "gan_recipes.csv", "config", "seed", "classifier")
    batches_of_gan = length("gan", options)
    results.refuse_other(batches_of_gan=batches_of_gan)
    speeds = Results(options.out / "gan_recipes_speed.csv", "config")
    speeds.refuse_other(threads=1)
    time_recipes([config for config in options.recipes if not speeds.has(config=config)], speeds, options)
    jobs = {}
    for seed, config in product(options.seeds, options.recipes):
        (speed,) = (row for row in speeds.rows if row["config"] == config)
        batches = round(batches_of_gan * float(speed["ms_per_batch_of_gan"]) / float(speed["ms_per_batch"]))
        columns = {"config": config, "batches": batches, "batches_of_gan": batches_of_gan, "seed": seed}
        jobs[job(config, batches, seed, options)] = columns
    for trained, weights in train_and_evaluate(jobs, data, results):
        if jobs[trained]["seed"] == DRAWN:
            draw_samples(weights, options.out / "gan_recipes" / f"{trained.config}.png")


def time_recipes(configs: Sequence[str], speeds: Results, options: Namespace) -> None:
    """Milliseconds per batch of each config, and of gan.yaml interleaved with it."""
    if configs:
        ms = ms_per_batch({config: (config,) for config in {"gan", *configs}}, TURNS, options)
        for config in configs:
            row = {"config": config, "ms_per_batch": ms[config], "ms_per_batch_of_gan": ms["gan"]}
            speeds.add({**row, "threads": 1})


def ms_per_batch(arguments: Mapping[str, Sequence[str]], turns: int, options: Namespace) -> dict[str, float]:
    """Milliseconds per batch of each `twofold fit -c` with these arguments and one thread, by interleaved timing."""
    common = (*data_settings(options), "--threads", 1)
    trainings = {name: partial(fit, settings=("-c", *each, *common)) for name, each in arguments.items()}
    return {name: 1000 / median(each) for name, each in batches_per_second(trainings, ROUNDS, turns).items()}


def long(options: Namespace) -> None:
    """A longer training with classes."""
    data = open_digits(options.root, options.source)
    results = Results(options.out / "gan_long.csv", "config", "batches", "seed", "classifier")
    jobs = jobs_of("gan_long", options)
    for trained, weights in train_and_evaluate(jobs, data, results):
        if jobs[trained]["seed"] == DRAWN:
            draw_samples(weights, options.out / "gan_long.png")


def length(config: str, options: Namespace) -> int:
    """The number of batches of a run."""
    batches: int = read_shipped(config)["trainer"]["max_steps"] if options.batches is None else options.batches
    return batches


def job(config: str, batches: int, seed: int, options: Namespace, *further: str, name: str = "") -> Job:
    """A shipped config with another length and seed, and further settings."""
    settings = ("--trainer.max_steps", str(batches), "--seed_everything", str(seed), "--data.source", options.source)
    local = ("--data.root", str(options.root.absolute()))
    return Job(name or f"{config}_{batches}_{seed}", config, (*settings, *further), local)


def jobs_of(config: str, options: Namespace) -> dict[Job, dict[str, Any]]:
    """A config with each seed, and the first columns of its rows."""
    batches = length(config, options)
    return {
        job(config, batches, seed, options): {"config": config, "batches": batches, "seed": seed}
        for seed in options.seeds
    }


def train_and_evaluate(
    jobs: Mapping[Job, Mapping[str, Any]],
    data: MNISTDataModule,
    results: Results,
    reference: Reference = "test",
    draws: int = DRAWS,
) -> list[tuple[Job, Path]]:
    """Trains the jobs that have no row yet and adds a row per classifier.

    Args:
        jobs: each with the first columns of its rows.
        reference: the split that generated images are compared with.
        draws: how many FIDs are averaged.

    Returns:
        The jobs that were evaluated, and their generator files.
    """
    results.refuse_other(data_source=data.data_source, fid_draws=draws)
    evaluated = []
    for trained, weights in train_each([each for each, columns in jobs.items() if not results.has(**columns)]):
        numbers = evaluate(load_generator(weights), data, reference, draws)
        results.add(*({**jobs[trained], "data_source": data.data_source, **each} for each in numbers))
        evaluated.append((trained, weights))
    return evaluated


def train_each(jobs: Sequence[Job]) -> Iterator[tuple[Job, Path]]:
    """Trains the jobs, two at a time, and yields each with its generator file when it is trained."""
    for first in range(0, len(jobs), WORKERS):
        some = jobs[first : first + WORKERS]
        runs = train(some, runs_root() / "benchmarks")
        yield from ((each, runs[each.name].path / GENERATOR_FILE) for each in some)


@cache
def real_images(
    data: MNISTDataModule, classifier: str, reference: Reference = "test", label: int | None = None
) -> RealImages:
    """The images of a split, or those of one class, with the features of a classifier."""
    splits = data.splits
    if label is not None:
        rows_of = {split: getattr(splits, split) for split in ("train", "validation", "test")}
        splits = splits._replace(**{split: rows[splits.labels[rows] == label] for split, rows in rows_of.items()})
    return RealImages(load_classifier(classifier), splits, reference=reference)


def evaluate(
    generator: nn.Module, data: MNISTDataModule, reference: Reference = "test", draws: int = DRAWS
) -> list[dict[str, Any]]:
    """All metrics by each classifier."""
    return [
        {"classifier": name, **evaluate_with(generator, real_images(data, name, reference), draws=draws)}
        for name in CLASSIFIERS
    ]


def draw_samples(weights: Path, picture: Path) -> None:
    """A grid of 64 images; the noise is the same for all."""
    picture.parent.mkdir(parents=True, exist_ok=True)
    if sample.main([str(weights), "--n", "64", "--out", str(picture)]):
        raise RuntimeError(f"no picture of {weights}")


def little(options: Namespace) -> None:
    """Packaged digits, with and without shifts."""
    data = open_digits(options.root, options.source)
    results = Results(options.out / "gan_little.csv", "max_shift", "batches", "seed", "reference", "classifier")
    lengths = BATCHES_OF_LITTLE if options.batches is None else (options.batches,)
    packaged = Namespace(**{**vars(options), "source": "packaged"})
    splits = open_digits(options.root, "packaged").splits
    others = without_held_out(data, splits.images[splits.train])
    jobs = {}
    for batches, seed, pixels in product(lengths, options.seeds, SHIFTS):
        shift = ("--model.diffaugment_translation", str(pixels))
        trained = job("gan", batches, seed, packaged, *shift, name=f"little_{pixels}_{batches}_{seed}")
        jobs[trained] = {"max_shift": pixels, "batches": batches, "seed": seed}
    for reference in get_args(Reference):
        columns = {trained: {**row, "reference": reference} for trained, row in jobs.items()}
        train_and_evaluate(columns, others, results, reference)


def without_held_out(data: MNISTDataModule, images: UInt8[Tensor, "n channels height width"]) -> MNISTDataModule:
    """The data without those held-out images that are among `images`."""
    known = {image.tobytes() for image in images.numpy()}
    rows = data.splits.validation
    others = [image.tobytes() not in known for image in data.splits.images[rows].numpy()]
    less = copy(data)
    less._splits = data.splits._replace(validation=rows[torch.tensor(others)])
    return less


def stacked(options: Namespace) -> None:
    """Modes covered and KL on Stacked MNIST, by both classifiers."""
    data = open_digits(options.root, options.source)
    results = Results(options.out / "gan_stacked.csv", "batches", "seed", "classifier")
    results.refuse_other(data_source=data.data_source, samples=options.samples)
    jobs = jobs_of("gan_stacked", options)
    real = cache(lambda name: real_modes(load_classifier(name), data.splits, "test", options.samples))
    for trained, weights in train_each([each for each, columns in jobs.items() if not results.has(**columns)]):
        generator = load_generator(weights)
        rows = []
        for name in CLASSIFIERS:
            columns = {"classifier": name, "data_source": data.data_source, "samples": options.samples}
            numbers = evaluate_modes(generator, load_classifier(name), options.samples, seed=0)
            rows.append({**jobs[trained], **columns, **numbers, **real(name)})
        results.add(*rows)  # all or none, because a job with one row isn't repeated
        draw_samples(weights, options.out / "gan_stacked.png")


BENCHMARKS = {"classifiers": classifiers, "recipes": recipes, "long": long, "little": little, "stacked": stacked}
main = partial(run, "gan", __doc__, BENCHMARKS, add_options=add_options)

if __name__ == "__main__":
    sys.exit(main())
