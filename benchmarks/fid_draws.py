"""How good games are on the whole: python -m benchmarks.fid_draws [--root DATA] [--seeds 1 2 3] [--draws 10]

A report measures the FID of 10,000 images, always from the same noise, and takes its floor from the first 10,000
training images. Both depend on luck. Here each generator makes several times as many from other noise, the report's
first, and the floor is the mean over all disjoint sets of 10,000 training images.

The generators are those of `benchmarks.gan_recipes` for configs/gan.yaml and of `benchmarks.gan_long`, which are
trained unless they are there.

Writes benchmarks/results/fid_draws.csv as soon as two generators are measured; what is there already is not repeated.
For each config, seed and classifier: means of the FID and of the floor, and the one divided by the other; the standard
deviation of the FID of one draw; the lowest and highest of both.
"""

import sys
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from torch import nn

from benchmarks.command import RESULTS
from benchmarks.digits import add_digits, real_digits, refuse_another
from benchmarks.evaluations import classifiers, train_and_classifier
from benchmarks.gan_long import unmeasured
from common.seeding import latent_noise, rng
from datamodules import MNISTDataModule
from metrics.evaluate import RealImages
from metrics.features import features_and_logits, scaled
from networks.sampling import draw
from scripts.generator_files import refuse_other_seeds
from scripts.jobs import read_shipped
from twofold.errors import OneLineParser, UsageError, exit_code
from twofold.run_folder import runs_root
from twofold.tables import read_rows

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
    rows = read_rows(table)
    refuse_another(rows, table, data_source=data.data_source, draws=options.draws)
    for config, trained_by in TRAINED_BY.items():
        length = batches or read_shipped(config)["trainer"]["max_steps"]
        todo = unmeasured(config, length, options.seeds, data, rows)
        list(train_and_classifier(todo, data, runs_root() / trained_by, table, partial(draws_of, options.draws)))
    return 0


def draws_of(draws: int, network: nn.Module, data: MNISTDataModule) -> list[dict[str, Any]]:
    """What each classifier sees in so many draws of a generator's images."""
    rows = []
    for classifier, real in classifiers(data.root, data.source).items():
        noise = [latent_noise(network, real.samples, rng(seed, "report")) for seed in range(draws)]
        fids = [
            real.frechet_distance(features_and_logits(real.classifier, draw(network, z)).features).value for z in noise
        ]
        floor = floors(real, data)
        rows.append(
            {
                "classifier": classifier,
                "fid": mean(fids),
                "fid_real": mean(floor),
                "fid_over_real": mean(fids) / mean(floor),
            }
            | {"fid_samples": real.samples, "draws": draws, "deviation": stdev(fids)}
            | {"lowest": min(fids), "highest": max(fids)}
            | {"floors": len(floor), "lowest_floor": min(floor), "highest_floor": max(floor)}
        )
    return rows


@cache
def floors(real: RealImages, data: MNISTDataModule) -> list[float]:
    """The FID of each set of training images that is as large as a draw."""
    sets = [rows for rows in data.digits.train.split(real.samples) if len(rows) == real.samples]
    seen = [features_and_logits(real.classifier, scaled(data.digits.images[rows])).features for rows in sets]
    return [real.frechet_distance(features).value for features in seen]


if __name__ == "__main__":
    sys.exit(exit_code("fid_draws", main, None))
