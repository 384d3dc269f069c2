"""How good generators get: python -m benchmarks.gan [classifiers] [recipes] [long] [fixes] [--root DATA]

- classifiers: how each classifier ranks degraded real images. It trains nothing. Writes classifier_checks.csv.
- recipes: every shipped recipe for as many batches as take the time of configs/gan.yaml. What a batch of each takes is
  measured first, by interleaved timing with nothing else running. Writes gan_recipes_speed.csv, gan_recipes.csv and a
  picture of 64 images per recipe.
- long: configs/gan_long.yaml, or another one by `--config gan --batches 110000`. Writes gan_long.csv and gan_long.png.
- fixes: six short runs. The first is configs/gan_template.yaml, each next one adds one fix, the last is
  configs/gan.yaml. Writes gan_fixes.csv, a row per evaluation, and pictures to docs/pictures.

Trainings run two at a time, with one thread each: what they reach depends on the batches, not on the time. Finished
runs and rows that are there are not repeated, interrupted runs resume. Both shipped classifiers evaluate ten draws of
10,000 images of each generator against the 10,000 test images; docs/results.md has the protocol.
"""

import json
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, partial
from itertools import product
from pathlib import Path
from statistics import mean, median
from typing import Any

import torch
from torch import nn

from benchmarks.command import add_mnist, data_settings, run
from benchmarks.degraded_images import degraded_images
from benchmarks.results import Results
from benchmarks.timing import batches_per_second, fit
from callbacks.interpolation_strip import GENERATOR_FILE
from datamodules import MNISTDataModule
from metrics.evaluate import RealImages, Reference
from metrics.evaluate import evaluate as evaluate_with
from metrics.features import CLASSIFIERS, load_classifier
from metrics.mode_coverage import COVERED
from networks.generator_files import load_generator
from scripts import sample
from scripts.digits import open_digits
from scripts.train_runs import WORKERS, Job, callback, read_shipped, train
from twofold.errors import UsageError
from twofold.provenance import ROOT
from twofold.run_folder import runs_root
from twofold.tables import read_rows

RECIPES = ("gan", "r3gan", "gan_template", "dcgan", "wgan_gp", "hinge_sn")
ROUNDS = 5
DRAWS = 10
FIXES_BATCHES = 4000
PICTURES = ROOT / "docs" / "pictures"


def add_options(parser: ArgumentParser) -> None:
    add_mnist(parser)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--batches", type=int, help="of a run, by default as many as its config says (fixes: 4,000)")
    parser.add_argument("--recipes", nargs="+", default=RECIPES, choices=RECIPES, help="configs for `recipes`")
    parser.add_argument("--config", default="gan_long", help="config for `long`")


def classifiers(options: Namespace) -> None:
    """How each classifier ranks degraded real images."""
    data = open_digits(options.root, options.source)
    results = Results(options.out / "classifier_checks.csv", "classifier", "images")
    results.refuse_other(data_source=data.data_source)
    for name, real in real_images(data).items():
        for kind, described, images in degraded_images(data.splits, real.samples):
            columns = {"classifier": name, "degradation": kind, "images": described, "data_source": data.data_source}
            results.add({**columns, **real.compare(images)})


def recipes(options: Namespace) -> None:
    """All recipes at equal time."""
    data = open_digits(options.root, options.source)
    results = Results(options.out / "gan_recipes.csv", "config", "batches_of_gan", "seed", "classifier")
    batches_of_gan = length("gan", options)
    speeds = Results(options.out / "gan_recipes_speed.csv", "config")
    time_recipes([config for config in options.recipes if not speeds.has(config=config)], speeds, options)
    jobs = {}
    for seed, config in product(options.seeds, options.recipes):
        (speed,) = (row for row in speeds.rows if row["config"] == config)
        batches = round(batches_of_gan * float(speed["ms_per_batch_of_gan"]) / float(speed["ms_per_batch"]))
        columns = {"config": config, "batches": batches, "batches_of_gan": batches_of_gan, "seed": seed}
        jobs[job(config, batches, seed, options)] = columns
    for trained, weights in train_and_evaluate(jobs, data, results):
        draw_samples(weights, options.out / "gan_recipes" / f"{trained.config}.png")


def time_recipes(configs: Sequence[str], speeds: Results, options: Namespace) -> None:
    """Milliseconds per batch of each config, and of gan.yaml interleaved with it."""
    if configs:
        settings = data_settings(options)
        trainings = {config: partial(fit, settings=("-c", config, *settings)) for config in {"gan", *configs}}
        ms = {config: 1000 / median(each) for config, each in batches_per_second(trainings, ROUNDS).items()}
        for config in configs:
            row = {"config": config, "ms_per_batch": ms[config], "ms_per_batch_of_gan": ms["gan"]}
            speeds.add({**row, "threads": torch.get_num_threads()})


def long(options: Namespace) -> None:
    """A longer training with wider networks."""
    data = open_digits(options.root, options.source)
    results = Results(options.out / "gan_long.csv", "config", "batches", "seed", "classifier")
    for trained, weights in train_and_evaluate(jobs_of(options.config, options), data, results):
        if trained.config == "gan_long":
            draw_samples(weights, options.out / "gan_long.png")


def length(config: str, options: Namespace) -> int:
    """The number of batches of a run."""
    batches: int = read_shipped(config)["trainer"]["max_steps"] if options.batches is None else options.batches
    return batches


def job(config: str, batches: int, seed: int, options: Namespace) -> Job:
    """A shipped config with another length and seed."""
    settings = ("--trainer.max_steps", str(batches), "--seed_everything", str(seed), "--data.source", options.source)
    local = ("--data.root", str(options.root.absolute()))
    return Job(f"{config}_{batches}_{seed}", config, settings, local)


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
        for numbers in evaluate(load_generator(weights), data, reference, draws):
            results.add({**jobs[trained], "data_source": data.data_source, **numbers})
        evaluated.append((trained, weights))
    return evaluated


def train_each(jobs: Sequence[Job]) -> Iterator[tuple[Job, Path]]:
    """Trains the jobs, two at a time, and yields each with its generator file when it is trained."""
    for first in range(0, len(jobs), WORKERS):
        some = jobs[first : first + WORKERS]
        runs = train(some, runs_root() / "benchmarks")
        yield from ((each, runs[each.name].path / GENERATOR_FILE) for each in some)


@cache
def real_images(data: MNISTDataModule, reference: Reference = "test") -> dict[str, RealImages]:
    """The images of a split with the features of each classifier, by its name."""
    return {name: RealImages(load_classifier(name), data.splits, reference=reference) for name in CLASSIFIERS}


def evaluate(
    generator: nn.Module, data: MNISTDataModule, reference: Reference = "test", draws: int = DRAWS
) -> list[dict[str, Any]]:
    """All metrics by each classifier."""
    return [
        {"classifier": name, **evaluate_with(generator, real, draws=draws)}
        for name, real in real_images(data, reference).items()
    ]


def draw_samples(weights: Path, picture: Path) -> None:
    """A grid of 64 images; the noise is the same for all."""
    picture.parent.mkdir(parents=True, exist_ok=True)
    if sample.main([str(weights), "--n", "64", "--out", str(picture)]):
        raise RuntimeError(f"no picture of {weights}")


BETAS = tuple(
    word
    for network in ("generator", "discriminator")
    for word in (f"--model.{network}_optimizer.init_args.betas", "[0.5,0.999]")
)
EMA = (*BETAS, "--model.ema_decay", "0.999")
PENALTIES = (*EMA, "--model.r1", "1", "--model.r2", "1", "--model.d_reg_interval", "4")
FIXES: dict[str, tuple[str, tuple[str, ...]]] = {
    "textbook": ("gan_template", ()),
    "beta": ("gan_template", BETAS),
    "ema": ("gan_template", EMA),
    "penalties": ("gan_template", PENALTIES),
    "relativistic": ("gan_template", (*PENALTIES, "--model.loss", "relativistic")),
    "mlp_conv": ("gan", ()),
}
"""Each short run with its config and settings. All multiply matrices in float32, so that only the fixes differ."""
ACCURACIES = ("d_accuracy_real", "d_accuracy_fake")


def fixes(options: Namespace) -> None:
    """What each fix changes, in short runs with one seed."""
    batches, seed = options.batches or FIXES_BATCHES, options.seeds[0]
    if batches < 40:
        raise UsageError(f"--batches is {batches}; write 40 or more, so that each quarter logs something")
    source = open_digits(options.root, options.source).data_source
    results = Results(options.out / "gan_fixes.csv", "fix", "batch")
    results.refuse_other(data_source=source, seed=seed)
    jobs = {}
    for fix, (config, settings) in FIXES.items():
        if not results.has(fix=fix, batch=batches):
            base = job(config, batches, seed, options)
            short = ("--trainer.log_every_n_steps", "10", "--model.matmul_precision", "highest")
            metrics = callback("GenerativeMetrics", every_n_batches=batches // 4, final_samples=0)
            callbacks = [metrics, callback("InterpolationStrip")]
            more = (*settings, *short, "--trainer.callbacks", json.dumps(callbacks))
            jobs[fix] = Job(f"fixes_{fix}", config, (*base.settings, *more), base.local)
    runs = train(list(jobs.values()), runs_root() / "benchmarks")
    for fix in jobs:
        run = runs[f"fixes_{fix}"].path
        for row in evaluations(read_rows(run / "metrics.csv")):
            results.add({"fix": fix, "seed": seed, "data_source": source, **row})
        folder = PICTURES if options.out.samefile(ROOT / "benchmarks" / "results") else options.out
        draw_samples(run / GENERATOR_FILE, folder / f"gan_{fix}.png")


def evaluations(metrics: Sequence[Mapping[str, str]]) -> list[dict[str, Any]]:
    """A row for each evaluation in a run's metrics.csv, with D's accuracies since the one before."""
    rows: list[dict[str, Any]] = []
    before = -1
    for row in metrics:
        if row["quality/fid"]:
            step = int(row["step"])
            since = [other for other in metrics if before < int(other["step"]) <= step and other["train/d_loss"]]
            covered = [digit for digit in range(10) if float(row[f"quality/class_{digit}"]) >= COVERED / 10]
            evaluated = {
                "batch": step + 1,
                "fid": f"{float(row['quality/fid']):.1f}",
                "fid_real": f"{float(row['quality/fid_real']):.2f}",
                "fid_samples": int(float(row["quality/fid_samples"])),
                "covered_digits": " ".join(map(str, covered)),
            }
            accuracies = {name: f"{mean(float(other[f'train/{name}']) for other in since):.3f}" for name in ACCURACIES}
            rows.append({**evaluated, **accuracies})
            before = step
    return rows


BENCHMARKS = {"classifiers": classifiers, "recipes": recipes, "long": long, "fixes": fixes}
main = partial(run, "gan", __doc__, BENCHMARKS, add_options=add_options)

if __name__ == "__main__":
    sys.exit(main())
