"""How good games are on the whole: python -m benchmarks.fid_draws [--root DATA] [--seeds 1 2 3] [--draws 10]

A report measures the FID of 10,000 images, always from the same noise, and takes its floor from the first 10,000
training images. Both are luck to a tenth. Here each generator makes several times as many from other noise, the
report's first, and the floor is the mean over all disjoint sets of 10,000 training images.

The generators are those of `benchmarks.gan_recipes` for configs/gan.yaml and of `benchmarks.gan_long`, which are
trained unless they are there.

Writes benchmarks/results/fid_draws.csv as soon as a generator is measured; what is there already is not repeated. For
each config, seed and judge: means of the FID and of the floor, and the one divided by the other; the standard deviation
of the FID of one draw; the lowest and highest of both.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from torch import nn

from benchmarks.command import RESULTS
from benchmarks.digits import add_digits, real_digits, refuse_another
from benchmarks.gan_recipes import job_of
from benchmarks.verdicts import judges, train_games
from datamodules import MNISTDataModule
from networks.files import load_generator
from networks.quality_report import RealDigits, SplitDigits, impression, scaled
from networks.sampling import draw
from networks.seeding import generator, latent_noise
from runtime.errors import OneLineParser, UsageError, exit_code
from runtime.run_folder import runs_root
from runtime.tables import read_rows, rounded, write_rows
from scripts.generator_files import refuse_other_seeds
from scripts.jobs import read_shipped

TABLE = RESULTS / "fid_draws.csv"
TRAINED_BY = {"gan": "gan_recipes", "gan_long": "gan_long"}
"""Configs, each with the benchmark whose runs are used."""


def main(arguments: Sequence[str] | None = None, table: Path = TABLE, batches: int | None = None) -> int:
    """Draws, measures, prints and writes the table; returns the exit code.

    Args:
        batches: of every game, by default as many as its config says.
    """
    parser = OneLineParser(prog="python -m benchmarks.fid_draws", description="how good games are on the whole")
    add_digits(parser)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--draws", type=int, default=10)
    options = parser.parse_args(arguments)
    refuse_other_seeds("--seeds", options.seeds)
    if options.draws < 2:
        raise UsageError(f"--draws is {options.draws}; write 2 or more")
    data = real_digits(options.root, options.source)
    rows: list[dict[str, Any]] = list(read_rows(table))
    refuse_another(rows, table, data_source=data.data_source, draws=options.draws)
    there = {(row["config"], int(row["batches"]), int(row["seed"])) for row in rows}
    for config, trained_by in TRAINED_BY.items():
        length = batches or read_shipped(config)["trainer"]["max_steps"]
        seeds = [seed for seed in options.seeds if (config, length, seed) not in there]
        jobs = {job_of(config, length, seed, options.source): seed for seed in seeds}
        for job, weights in train_games(list(jobs), data, runs_root() / trained_by).items():
            game = {"config": config, "batches": length, "data_source": data.data_source, "seed": jobs[job]}
            for measured in numbers(load_generator(weights), options.draws, data):
                rows.append({**game, **rounded(measured)})
                print(", ".join(f"{name} {value}" for name, value in rows[-1].items()), flush=True)
            write_rows(table, list(rows[0]), rows)
    return 0


def numbers(network: nn.Module, draws: int, data: MNISTDataModule) -> list[dict[str, Any]]:
    """What each judge sees in so many draws."""
    rows = []
    for judge, real in judges(data.root, data.source).items():
        noise = [latent_noise(network, real.samples, generator(seed, "report")) for seed in range(draws)]
        fids = [real.frechet_distance(impression(real.judge, draw(network, z)).features).value for z in noise]
        floor = floors(real, data.digits)
        rows.append(
            {"judge": judge, "fid": mean(fids), "fid_floor": mean(floor), "fid_ratio": mean(fids) / mean(floor)}
            | {"fid_samples": real.samples, "draws": draws, "deviation": stdev(fids)}
            | {"lowest": min(fids), "highest": max(fids)}
            | {"floors": len(floor), "lowest_floor": min(floor), "highest_floor": max(floor)}
        )
    return rows


def floors(real: RealDigits, digits: SplitDigits) -> list[float]:
    """The FID of each set of training images that is as large as a draw."""
    sets = [rows for rows in digits.train.split(real.samples) if len(rows) == real.samples]
    return [real.frechet_distance(impression(real.judge, scaled(digits.images[rows])).features).value for rows in sets]


if __name__ == "__main__":
    sys.exit(exit_code("fid_draws", main, None))
