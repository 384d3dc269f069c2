"""How good the game gets in an hour: python -m benchmarks.gan_long [--root DATA] [--config gan_long] [--seeds 1 2 3]

Trains configs/gan_long.yaml with three seeds, two side by side on one thread each, for what they reach depends on the
batches alone. Both classifiers look at 10,000 images of each generator, beside the 10,000 test images. What its wider
networks are worth shows `--config gan --batches 110000`: those of configs/gan.yaml for about as long.

Writes into benchmarks/results, as soon as runs have ended; what is there already is not repeated, and a run that was
broken off goes on:

- gan_long.csv: a row for each config, length, seed and classifier.
- gan_long.png: 64 images of the first generator of configs/gan_long.yaml.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.command import RESULTS, refuse_below_1
from benchmarks.digits import add_digits, real_digits, refuse_another
from benchmarks.evaluations import train_and_classifier
from benchmarks.gan_recipes import job_of
from benchmarks.samples import draw_samples
from datamodules import MNISTDataModule
from scripts.generator_files import refuse_other_seeds
from scripts.jobs import Job, read_shipped
from twofold.errors import OneLineParser, exit_code
from twofold.run_folder import runs_root
from twofold.tables import read_rows

NAME = "gan_long"


def main(arguments: Sequence[str] | None = None, results: Path = RESULTS) -> int:
    """Trains and classifiers what isn't yet, prints and writes the table; returns the exit code."""
    parser = OneLineParser(prog=f"python -m benchmarks.{NAME}", description="how good the game gets in an hour")
    add_digits(parser)
    parser.add_argument("--config", default=NAME, choices=(NAME, "gan"))
    parser.add_argument("--batches", type=int, help="of each game, by default as many as its config says")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    options = parser.parse_args(arguments)
    config = options.config
    batches = read_shipped(config)["trainer"]["max_steps"] if options.batches is None else options.batches
    refuse_below_1("--batches", batches)
    refuse_other_seeds("--seeds", options.seeds)
    data = real_digits(options.root, options.source)
    table = results / f"{NAME}.csv"
    rows = read_rows(table)
    refuse_another(rows, table, data_source=data.data_source)
    todo = unmeasured(config, batches, options.seeds, data, rows)
    shown = any((row["config"], row["batches"]) == (NAME, str(batches)) for row in rows)
    for job, weights in train_and_classifier(todo, data, runs_root() / NAME, table):
        if config == NAME and not shown:
            draw_samples(weights, results / f"{NAME}.png", todo[job]["seed"])
            shown = True
    return 0


def unmeasured(
    config: str, batches: int, seeds: Sequence[int], data: MNISTDataModule, rows: Sequence[Mapping[str, str]]
) -> dict[Job, dict[str, Any]]:
    """The games of a config that no row is about, each with the facts that its rows begin with."""
    there = [tuple(row[name] for name in ("config", "batches", "seed")) for row in rows]
    return {
        job_of(config, batches, seed, data.source): {
            "config": config,
            "batches": batches,
            "data_source": data.data_source,
            "seed": seed,
        }
        for seed in seeds
        if (config, str(batches), str(seed)) not in there
    }


if __name__ == "__main__":
    sys.exit(exit_code(NAME, main, None))
