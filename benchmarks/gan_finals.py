"""The best recipes of the search again, longer and with three seeds: python -m benchmarks.gan_finals [--root DATA]

First each of the five best is timed, alone, on all cores of this machine, by its quickest stretch of 48 batches, which
other programs have disturbed the least: so many batches are five minutes. Then it trains for that number of batches
with three seeds, two trainings side by side on one thread each, since what they reach depends on the batches alone.
Both classifiers look at 10,000 images of each averaged generator and compare them with the 10,000 test images, which
took no
part in the search.

Writes benchmarks/results/gan_finals.csv, rows as soon as they are measured; what is there already is not repeated.
"""

import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import optuna
import torch
from optuna.trial import FixedTrial, TrialState

from benchmarks.command import RESULTS
from benchmarks.digits import real_digits
from benchmarks.evaluations import verdicts
from benchmarks.gan_search import (
    JOURNAL,
    SECONDS,
    Clock,
    Recipe,
    in_batches,
    name,
    storage,
    suggest,
    train,
)
from callbacks.generators import unnoticed
from datamodules import MNISTDataModule
from scripts.plain_loop import settle
from twofold.errors import OneLineParser, UsageError, exit_code
from twofold.tables import read_rows, rounded, write_rows
from twofold.warning_filters import filter_warnings

TABLE = RESULTS / "gan_finals.csv"
BEST = 5
SEEDS = (1, 2, 3)
TIMED, STRETCH = 384, 48
"""Batches of the short run that measures a recipe's speed, and of a stretch; all intervals of penalties divide it."""


def best_recipes(number: int) -> dict[int, Recipe]:
    """The best trials of the search, by their numbers."""
    study = optuna.load_study(study_name=name(SECONDS), storage=storage())
    complete = [trial for trial in study.trials if trial.state == TrialState.COMPLETE]
    complete.sort(key=lambda trial: trial.value or 0.0)
    return {trial.number: suggest(FixedTrial(trial.params)) for trial in complete[:number]}


def undisturbed_seconds_per_batch(recipe: Recipe, data: MNISTDataModule) -> float:
    times = Clock(time.perf_counter)
    train(recipe, TIMED, data, times)
    return min(end - start for start, end in zip(times.at, times.at[STRETCH:], strict=False)) / STRETCH


def final(recipe: Recipe, seed: int, batches: int, data: MNISTDataModule) -> list[dict[str, Any]]:
    """Trains once, on this process's thread; returns what each classifier says."""
    data = in_batches(data, recipe)
    gan, seconds = train(recipe, batches, data, seed=seed)
    with unnoticed(gan.sampling_generator):
        said = verdicts(gan.sampling_generator, data)
    return [{"cpu_seconds": round(seconds), **verdict} for verdict in said]


def main(arguments: Sequence[str] | None = None, table: Path = TABLE) -> int:
    """Times, trains and classifiers what isn't in the table yet; returns the exit code."""
    parser = OneLineParser(
        prog="python -m benchmarks.gan_finals", description="the best of the search, with three seeds"
    )
    parser.add_argument("--root", default="data", help="the folder that holds MNIST/raw")
    parser.add_argument("--minutes", type=float, default=5, help="of training on all cores")
    options = parser.parse_args(arguments)
    if not options.minutes > 0:
        raise UsageError(f"--minutes can't be {options.minutes}; write a positive number")
    filter_warnings()
    real_digits(options.root, "torchvision")  # or there is nothing to begin with
    data = MNISTDataModule(options.root, "torchvision")  # unread, since it is sent to other processes
    if not JOURNAL.exists():
        parser.error(f"{JOURNAL} is missing; python -m benchmarks.gan_search writes it")
    rows: list[dict[str, Any]] = list(read_rows(table))
    milliseconds = {int(row["trial"]): float(row["ms_per_batch"]) for row in rows}
    there = {(int(row["trial"]), float(row["minutes"]), int(row["seed"])) for row in rows}
    recipes = best_recipes(BEST)
    for number, recipe in recipes.items():
        if number not in milliseconds:
            milliseconds[number] = round(1000 * undisturbed_seconds_per_batch(recipe, in_batches(data, recipe)), 3)
            print(f"trial {number}: {milliseconds[number]} ms a batch on {torch.get_num_threads()} threads", flush=True)
    with ProcessPoolExecutor(2, get_context("spawn"), initializer=settle) as processes:
        futures = {}
        for seed in SEEDS:
            for number, recipe in recipes.items():
                if (number, options.minutes, seed) not in there:
                    batches = round(1000 * 60 * options.minutes / milliseconds[number])
                    facts = {
                        "trial": number,
                        "minutes": options.minutes,
                        "seed": seed,
                        "batches": batches,
                        "ms_per_batch": milliseconds[number],
                    }
                    futures[processes.submit(final, recipe, seed, batches, data)] = facts
        for future in as_completed(futures):
            for verdict in future.result():
                rows.append({**futures[future], **rounded(verdict)})
                print(", ".join(f"{name} {value}" for name, value in rows[-1].items()), flush=True)
            write_rows(table, list(rows[-1]), rows)
    return 0


if __name__ == "__main__":
    sys.exit(exit_code("gan_finals", main, None))
