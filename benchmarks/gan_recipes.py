"""All recipes of the game at equal time: python -m benchmarks.gan_recipes [--root DATA] [--seeds 1 2 3]

The time is the one that configs/gan.yaml takes for its batches, five to fifteen minutes on 2 cores. How many batches of
another recipe take as long is measured first, with nothing else running: runs through `twofold fit` that take turns of
two seconds (`benchmarks.interleaved_timing`). Then every recipe trains for so many batches, two side by side on one
thread each,
for what they reach depends on the batches alone. Both classifiers look at 10,000 images of each generator, beside the
10,000
test images.

The recipes of papers and textbooks are as written down there; only that of configs/gan.yaml was searched for.

Writes into benchmarks/results, as soon as two runs have ended; what is there already is not repeated, and a run that
was broken off goes on:

- gan_recipes_speed.csv: milliseconds per batch of each recipe, and of gan.yaml by turns with it, in the median round.
- gan_recipes.csv: a row for each config, seed and classifier.
- gan_recipes/….png: 64 images of each config's first generator.
"""

import sys
from collections.abc import Sequence
from functools import partial
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.command import RESULTS, refuse_below_1
from benchmarks.digits import add_digits, real_digits, refuse_another
from benchmarks.evaluations import train_and_classifier
from benchmarks.interleaved_timing import batches_per_second, fit
from benchmarks.samples import draw_samples
from scripts.generator_files import refuse_other_seeds
from scripts.jobs import Job, falling
from scripts.reporting.scale import GAN_BATCHES
from twofold.errors import OneLineParser, exit_code
from twofold.provenance import CONFIGS
from twofold.run_folder import runs_root
from twofold.tables import read_rows, rounded, write_rows

OURS = "gan"
RECIPES = (OURS, "gan_template", "dcgan", "wgan_gp", "hinge_sn")
ROUNDS = 5


def speeds(recipes: Sequence[str], data: Sequence[str], table: Path) -> dict[str, float]:
    """How many batches of each recipe take as long as one of ours; measures what isn't in the table yet."""
    rows: list[dict[str, Any]] = list(read_rows(table))
    unknown = [recipe for recipe in recipes if recipe not in {row["recipe"] for row in rows}]
    if unknown:
        contestants = {
            recipe: partial(fit, config=CONFIGS / f"{recipe}.yaml", settings=data)
            for recipe in dict.fromkeys((OURS, *unknown))
        }
        rounds = batches_per_second(contestants, ROUNDS)
        milliseconds = {recipe: 1000 / median(each) for recipe, each in rounds.items()}
        for recipe in unknown:
            row = {"recipe": recipe, "ms_per_batch": milliseconds[recipe], "ms_per_batch_of_gan": milliseconds[OURS]}
            rows.append({**rounded(row), "threads": torch.get_num_threads()})
            print(", ".join(f"{name} {value}" for name, value in rows[-1].items()), flush=True)
        write_rows(table, list(rows[0]), rows)
    return {row["recipe"]: float(row["ms_per_batch_of_gan"]) / float(row["ms_per_batch"]) for row in rows}


def job_of(recipe: str, batches: int, seed: int, source: str) -> Job:
    """The config as it is shipped, but for its length, its seed and whose digits it reads."""
    settings = (*falling(recipe, batches), "--seed_everything", str(seed), "--data.source", source)
    return Job(f"{recipe}_{batches}_{seed}", recipe, recipe, batches, settings, reads_digits=True)


def main(arguments: Sequence[str] | None = None, results: Path = RESULTS) -> int:
    """Trains and classifiers what isn't yet, prints and writes the tables; returns the exit code."""
    parser = OneLineParser(prog="python -m benchmarks.gan_recipes", description="the recipes of the game at equal time")
    add_digits(parser)
    parser.add_argument("--batches", type=int, default=GAN_BATCHES, help="of gan.yaml; the others train for as long")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--recipes", nargs="+", default=RECIPES, choices=RECIPES, help="configs of the game")
    options = parser.parse_args(arguments)
    refuse_below_1("--batches", options.batches)
    refuse_other_seeds("--seeds", options.seeds)
    data = real_digits(options.root, options.source)
    table, pictures = results / "gan_recipes.csv", results / "gan_recipes"
    pictures.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = list(read_rows(table))
    refuse_another(rows, table, data_source=data.data_source)
    there = {(row["recipe"], int(row["batches_of_gan"]), int(row["seed"])) for row in rows}
    shown = {(row["recipe"], int(row["batches"])) for row in rows}
    settings = ("--data.root", str(data.root.absolute()), "--data.source", options.source)
    per_batch_of_ours = speeds(options.recipes, settings, results / "gan_recipes_speed.csv")
    todo = {}
    for seed, recipe in product(options.seeds, options.recipes):
        if (recipe, options.batches, seed) not in there:
            batches = round(options.batches * per_batch_of_ours[recipe])
            facts = {"recipe": recipe, "batches": batches, "batches_of_gan": options.batches, "seed": seed}
            todo[job_of(recipe, batches, seed, options.source)] = {**facts, "data_source": data.data_source}
    for job, weights in train_and_classifier(todo, data, runs_root() / "gan_recipes", table):
        if (job.config, job.batches) not in shown:
            draw_samples(weights, pictures / f"{job.config}.png", todo[job]["seed"])
            shown.add((job.config, job.batches))
    return 0


if __name__ == "__main__":
    sys.exit(exit_code("gan_recipes", main, None))
