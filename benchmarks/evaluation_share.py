"""What the classifier's looks cost while a game is played: python -m benchmarks.evaluation_share [--root DATA]

Plays configs/gan.yaml, gan_long.yaml and gan_template.yaml, as shipped but shorter, until the classifier has looked
three
times, in a folder where what it sees in the training images isn't kept yet. By the run's own stopwatch, the batches
around a look take longer than others: that is its price, with that of a checkpoint and a picture drawn in the same
batch.

Writes benchmarks/results/evaluation_share.csv: for each config the milliseconds of a batch, the seconds of the first
look and of one after it, and the share of all looks in the training time of the whole run.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch

from benchmarks.command import RESULTS, seconds_after, twofold
from benchmarks.digits import add_digits, real_digits
from callbacks import GenerativeMetrics
from scripts.jobs import read_shipped
from twofold.errors import OneLineParser, exit_code
from twofold.provenance import CONFIGS
from twofold.tables import rounded, write_rows

TABLE = RESULTS / "evaluation_share.csv"
RECIPES = ("gan", "gan_long", "gan_template")
LOOKS = 3


def seconds_of_stretches(config: str, digits: Path, source: str, batches: int) -> dict[int, float]:
    """What each stretch of `log_every_n_steps` batches took, by the number of batches after it."""
    with TemporaryDirectory() as folder:
        (Path(folder) / "MNIST").symlink_to(digits / "MNIST")
        data = ("--data.root", folder, "--data.source", source)
        twofold(folder, "fit", "-c", CONFIGS / f"{config}.yaml", "--trainer.max_steps", batches, *data)
        after = seconds_after(folder)
    return {end: seconds - before for (end, seconds), before in zip(after.items(), [0, *after.values()], strict=False)}


def price(measured: dict[int, float], every: int, stretch: int, whole_run: int) -> dict[str, float]:
    """What looks cost that come every so many batches of a whole run.

    Args:
        measured: seconds of each stretch of so many batches, by the number of batches after it.
    """
    batch = median(seconds for batches, seconds in measured.items() if batches % every) / stretch
    first, *later = [seconds - stretch * batch for batches, seconds in measured.items() if batches % every == 0]
    look = median(later)
    looks = first + (whole_run // every - 1) * look
    share = looks / (looks + whole_run * batch)
    return {"ms_per_batch": 1000 * batch, "first_look_seconds": first, "look_seconds": look, "share_of_run": share}


def main(arguments: Sequence[str] | None = None, results: Path = TABLE) -> int:
    """Plays, measures, prints and writes the table; returns the exit code."""
    parser = OneLineParser(prog="python -m benchmarks.evaluation_share", description="what the classifier's looks cost")
    add_digits(parser)
    options = parser.parse_args(arguments)
    root = real_digits(options.root, options.source).root.absolute()
    every = GenerativeMetrics().every_n_batches
    rows: list[dict[str, Any]] = []
    for config in RECIPES:
        trainer = read_shipped(config)["trainer"]
        stretch = trainer["log_every_n_steps"]
        measured = seconds_of_stretches(config, root, options.source, LOOKS * every + stretch)
        numbers = price(measured, every, stretch, trainer["max_steps"])
        rows.append({"config": config, "threads": torch.get_num_threads(), "every": every, **rounded(numbers)})
        print(", ".join(f"{name} {value}" for name, value in rows[-1].items()), flush=True)
    write_rows(results, list(rows[0]), rows)
    return 0


if __name__ == "__main__":
    sys.exit(exit_code("evaluation_share", main, None))
