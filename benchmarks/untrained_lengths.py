"""What a network trained at 1,000 digits answers at a million: python -m benchmarks.untrained_lengths

Trains configs/palindrome_long.yaml as a user does, then runs `twofold test` at each length in a process of its own,
with 100 palindromes. Writes benchmarks/results/untrained_lengths.csv: accuracy, the process's peak memory in MB (10⁶
bytes), and its seconds, with starting up.
"""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.command import RESULTS, start, twofold
from twofold.provenance import CONFIGS
from twofold.tables import read_rows, write_rows

TABLE = RESULTS / "untrained_lengths.csv"
LENGTHS = (1000, 10_000, 100_000, 1_000_000)
TESTED = 100


def main(results: Path = TABLE, lengths: Sequence[int] = LENGTHS, fit: Sequence[str] = ()) -> None:
    """Measures, prints and writes the table; `fit` are more settings for the training."""
    with TemporaryDirectory() as runs:
        twofold(runs, "fit", "-c", str(CONFIGS / "palindrome_long.yaml"), *fit)
        (config,) = Path(runs).glob("*/*/config.yaml")
        rows = [ask(runs, config, length) for length in lengths]
    write_rows(results, list(rows[0]), rows)


def ask(runs: str, config: Path, length: int) -> dict[str, Any]:
    """The row of one length."""
    start = time.perf_counter()
    asked = ("--data.test_lengths", f"[{length}]", "--data.test_size", str(TESTED))
    peak = twofold(runs, "test", "-c", str(config), "--ckpt_path", "last", *asked)
    seconds = time.perf_counter() - start
    (test,) = read_rows(config.parent / "test.csv")
    accuracy = test[f"test/accuracy/T={length}"]
    row = {"length": length, "accuracy": accuracy, "peak_mb": round(peak), "seconds": round(seconds, 1)}
    print(", ".join(f"{name} {value}" for name, value in row.items()), flush=True)
    return row


if __name__ == "__main__":
    sys.exit(start("untrained_lengths", main, __doc__))
