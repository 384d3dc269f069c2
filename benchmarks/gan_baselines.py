"""The baselines with what is known to help: python -m benchmarks.gan_baselines [betas] [tuned] [--root DATA]

**Question.** `python -m benchmarks.gan recipes` compares gan.yaml, for which a search was made, with recipes as their
papers write them. How good are these with gan.yaml's averaging and falling learning rates, and their best β₁?

**Protocol**, written before the runs.

- `betas`: each baseline with averaging, falling rates and β₁ of 0, 0.5 and 0.9, for a quarter of its batches, with one
  seed. The β₁ with the lowest FID by digit_cnn on the held-out images is its best. Writes gan_betas.csv.
- `tuned`: each baseline with averaging, falling rates and its best β₁, for as many batches as in gan_recipes.csv, which
  `recipes` writes first. Evaluated on the test images by the protocol of docs/results.md. Writes gan_tuned.csv.

Averaging takes a few hundredths of a batch's time, which aren't taken off. Trainings run two at a time with one thread
each. Finished runs are not repeated, interrupted runs resume.
"""

import json
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from functools import partial
from itertools import product
from typing import Any

from benchmarks.command import add_mnist, run
from benchmarks.gan import job, train_and_evaluate
from benchmarks.gan_effects import TO_ZERO
from benchmarks.results import Results
from scripts.digits import open_digits
from scripts.train_runs import Job, read_shipped
from twofold.errors import UsageError

BASELINES = ("gan_template", "dcgan", "wgan_gp", "hinge_sn")
BETAS = (0.0, 0.5, 0.9)
EMA_DECAY = 0.9998
DRAWS_TO_CHOOSE = 4


def add_options(parser: ArgumentParser) -> None:
    add_mnist(parser)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--configs", nargs="+", default=BASELINES, choices=BASELINES)


def betas(options: Namespace) -> None:
    """Each baseline with three values of β₁, in short runs."""
    data = open_digits(options.root, options.source)
    results = Results(options.out / "gan_betas.csv", "config", "beta1", "classifier")
    jobs = {}
    for config, beta1 in product(options.configs, BETAS):
        batches, seed = batches_of(config, options) // 4, options.seeds[0]
        columns = {"config": config, "beta1": f"{beta1:g}", "batches": batches, "seed": seed}
        jobs[_job(config, beta1, batches, seed, options)] = columns
    train_and_evaluate(jobs, data, results, "validation", DRAWS_TO_CHOOSE)


def tuned(options: Namespace) -> None:
    """Each baseline with its best β₁."""
    data = open_digits(options.root, options.source)
    results = Results(options.out / "gan_tuned.csv", "config", "seed", "classifier")
    jobs = {}
    for seed, config in product(options.seeds, options.configs):
        batches, beta1 = batches_of(config, options), best_beta(config, options)
        columns = {"config": config, "beta1": f"{beta1:g}", "batches": batches, "seed": seed}
        jobs[_job(config, beta1, batches, seed, options)] = columns
    train_and_evaluate(jobs, data, results)


def _job(config: str, beta1: float, batches: int, seed: int, options: Namespace) -> Job:
    """A baseline with averaging, falling rates and this β₁."""
    shipped = read_shipped(config)["model"]["init_args"]
    settings = ["--model.ema_decay", str(EMA_DECAY)]
    for network in ("generator", "discriminator"):
        _, beta2 = shipped[f"{network}_optimizer"]["init_args"]["betas"]
        settings += [f"--model.{network}_lr_scheduler", json.dumps(TO_ZERO)]
        settings += [f"--model.{network}_optimizer.init_args.betas", json.dumps([beta1, beta2])]
    return job(config, batches, seed, options, *settings, name=f"tuned_{config}_{beta1}_{batches}_{seed}")


def batches_of(config: str, options: Namespace) -> int:
    """The number of batches of a baseline in gan_recipes.csv.

    Raises:
        UsageError: when it isn't there.
    """
    rows = Results(options.out / "gan_recipes.csv", "config", "seed", "classifier").rows
    return next(int(row["batches"]) for row in _of(config, rows, "run python -m benchmarks.gan recipes first"))


def best_beta(config: str, options: Namespace) -> float:
    """The β₁ with the lowest FID by digit_cnn on held-out images.

    Raises:
        UsageError: when none was measured.
    """
    rows = Results(options.out / "gan_betas.csv", "config", "beta1", "classifier").rows
    chosen = [row for row in rows if row["classifier"] == "digit_cnn"]
    return float(min(_of(config, chosen, "run betas first"), key=lambda row: float(row["fid"]))["beta1"])


def _of(config: str, rows: Sequence[dict[str, Any]], advice: str) -> list[dict[str, Any]]:
    found = [row for row in rows if row["config"] == config]
    if not found:
        raise UsageError(f"no results of {config}; {advice}")
    return found


main = partial(run, "gan_baselines", __doc__, {"betas": betas, "tuned": tuned}, add_options=add_options)

if __name__ == "__main__":
    sys.exit(main())
