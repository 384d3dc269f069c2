"""How soon the shipped configs solve their palindromes, seed by seed: python -m benchmarks.palindromes_solved

Each run is `twofold fit` as a user starts it, in a process of its own. Solved means: ten batches in a row without an
error at the full length, which ends training. Then the network is tested on fresh palindromes.

Writes benchmarks/results/palindromes_solved.csv, a row as soon as it is measured; rows that are there are not repeated.
Delete the file to measure anew.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch
import yaml

from benchmarks.command import RESULTS, start, twofold
from twofold.provenance import CONFIGS
from twofold.tables import read_rows, write_rows

TABLE = RESULTS / "palindromes_solved.csv"


class Case(NamedTuple):
    """A config at a length, with how many seeds to try it and with how many palindromes to test."""

    config: str
    length: int
    seeds: int
    tested: int
    more: tuple[str, ...] = ()


STOP = ("--trainer.callbacks+=callbacks.StopWhenSolved",)
CASES = (
    Case("palindrome_lstm", 5, 5, 10_000, STOP),
    Case("palindrome_lstm", 20, 5, 10_000, STOP),
    Case("palindrome_long", 1000, 5, 10_000),
    Case("palindrome_recall", 20, 3, 10_000),
    Case("palindrome_long", 10_000, 5, 1000),
)


def solve(case: Case, seed: int) -> dict[str, Any]:
    """Trains and tests; returns the row."""
    with TemporaryDirectory() as runs:
        config = CONFIGS / f"{case.config}.yaml"
        twofold(runs, "fit", "-c", config, "--data.length", case.length, "--seed_everything", seed, *case.more)
        (run,) = (path.parent for path in Path(runs).glob("*/*/run.json"))
        size = ("--data.test_size", case.tested)
        twofold(runs, "test", "-c", run / "config.yaml", "--ckpt_path", "last", *size)
        limit = yaml.safe_load((run / "config.yaml").read_text())["trainer"]["max_steps"]
        timing, (test,) = read_rows(run / "timing.csv")[-1], read_rows(run / "test.csv")
        return {
            "config": case.config,
            "length": case.length,
            "seed": seed,
            "threads": torch.get_num_threads(),
            "solved": int(test["step"]) < limit,
            "batches": test["step"],
            "seconds": round(float(timing["time/seconds"]), 1),
            "tested": case.tested,
            "accuracy": test[f"test/accuracy/T={case.length}"],
        }


def main(results: Path = TABLE, cases: Sequence[Case] = CASES) -> None:
    """Measures what isn't measured yet, prints and writes the table."""
    rows: list[dict[str, Any]] = list(read_rows(results))
    there = {(row["config"], int(row["length"]), int(row["seed"])) for row in rows}
    for case in cases:
        for seed in range(1, case.seeds + 1):
            if (case.config, case.length, seed) in there:
                continue
            rows.append(solve(case, seed))
            write_rows(results, list(rows[0]), rows)
            print(", ".join(f"{name} {value}" for name, value in rows[-1].items()), flush=True)


if __name__ == "__main__":
    sys.exit(start("palindromes_solved", main, __doc__))
