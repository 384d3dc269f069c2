"""What a second process costs and brings on one machine without a GPU: python -m benchmarks.processes

Milliseconds of a batch of `twofold fit`, with W&B, CSV, bar and all, by one process with all threads and by two that
share the threads and the batch, by turns; the quickest of three rounds each. The games play with packaged digits.

Writes benchmarks/results/processes.csv.
"""

import os
import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.command import RESULTS, seconds_after, start, twofold
from benchmarks.timing import by_turns
from twofold.provenance import CONFIGS
from twofold.tables import rounded, write_rows

TABLE = RESULTS / "processes.csv"
EXPERIMENTS = {
    "palindrome_lstm": ("--data.length", "100"),
    "gan_template": ("--data.source", "packaged"),
    "dcgan": ("--data.source", "packaged"),
}
ROUNDS = 3


def milliseconds_per_batch(config: Path, *arguments: object, first: int = 100, last: int = 300) -> float:
    """Of `twofold fit` with a config, from the first to the last of these batches, with all that it watches."""
    with TemporaryDirectory() as runs:
        twofold(runs, "fit", "-c", config, *arguments, "--trainer.max_steps", last)
        seconds = seconds_after(runs)
    return 1000 * (seconds[last] - seconds[first]) / (last - first)


def main(table: Path = TABLE, rounds: int = ROUNDS) -> None:
    """Measures, prints and writes a row for each experiment."""
    rows: list[dict[str, Any]] = []
    for experiment, settings in EXPERIMENTS.items():
        config = CONFIGS / f"{experiment}.yaml"
        on_cpu = (*settings, "--trainer.accelerator", "cpu", "--trainer.devices")
        contestants = {
            f"ms_by_{devices}": partial(milliseconds_per_batch, config, *on_cpu, devices) for devices in (1, 2)
        }
        quickest = {name: min(times) for name, times in by_turns(contestants, rounds).items()}
        ratio = quickest["ms_by_2"] / quickest["ms_by_1"]
        rows.append({"experiment": experiment, "cores": os.cpu_count(), **rounded({**quickest, "ratio": ratio})})
        print(", ".join(f"{name} {value}" for name, value in rows[-1].items()), flush=True)
        write_rows(table, list(rows[0]), rows)


if __name__ == "__main__":
    sys.exit(start("processes", main, __doc__))
