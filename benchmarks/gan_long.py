"""How good the best recipe gets in an hour: python -m benchmarks.gan_long [--root DATA] [--seeds 1 2 3]

Trains configs/gan_long.yaml with three seeds, two side by side on one thread each, for what they reach depends on the
batches alone. Both judges look at 10,000 images of each generator, beside the 10,000 test images.

Writes into benchmarks/results, as soon as runs have ended; what is there already is not repeated, and a run that was
broken off goes on:

- gan_long.csv: a row for each seed and judge.
- gan_long.png: 64 images of the first generator.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.command import RESULTS, refuse_below_1
from benchmarks.digits import add_digits, real_digits
from benchmarks.gan_recipes import job_of
from benchmarks.samples import draw_samples
from benchmarks.verdicts import train_and_judge
from runtime.errors import OneLineParser, exit_code
from runtime.run_folder import runs_root
from runtime.tables import read_rows
from scripts.generator_files import refuse_other_seeds
from scripts.jobs import read_shipped

CONFIG = "gan_long"
BATCHES: int = read_shipped(CONFIG)["trainer"]["max_steps"]


def main(arguments: Sequence[str] | None = None, results: Path = RESULTS) -> int:
    """Trains and judges what isn't yet, prints and writes the table; returns the exit code."""
    parser = OneLineParser(prog="python -m benchmarks.gan_long", description="the best recipe for an hour")
    add_digits(parser)
    parser.add_argument("--batches", type=int, default=BATCHES)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    options = parser.parse_args(arguments)
    refuse_below_1(batches=options.batches)
    refuse_other_seeds("--seeds", options.seeds)
    data = real_digits(options.root, options.source)
    table = results / f"{CONFIG}.csv"
    there = {(int(row["seed"]), int(row["batches"]), row["data_source"]) for row in read_rows(table)}
    todo = {}
    for seed in options.seeds:
        if (seed, options.batches, data.data_source) not in there:
            facts = {"seed": seed, "batches": options.batches, "data_source": data.data_source}
            todo[job_of(CONFIG, options.batches, seed, options.source)] = facts
    shown = options.batches in {batches for _, batches, _ in there}
    for job, weights in train_and_judge(todo, data, runs_root() / CONFIG, table):
        if not shown:
            draw_samples(weights, results / f"{CONFIG}.png", todo[job]["seed"])
            shown = True
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(CONFIG, main, None))
