"""What a network trained at 1,000 digits answers at a million: python -m benchmarks.untrained_lengths

Trains configs/palindrome_long.yaml as a user does, then runs `twofold test` at each length in a process of its own,
with 100 palindromes. Writes benchmarks/results/untrained_lengths.csv: accuracy, the process's peak memory in MB (10⁶
bytes), and its seconds, with starting up.
"""

import csv
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from networks.files import replacing

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "untrained_lengths.csv"
LENGTHS = (1000, 10_000, 100_000, 1_000_000)
TESTED = 100


def main(results: Path = RESULTS, lengths: Sequence[int] = LENGTHS, fit: Sequence[str] = ()) -> None:
    """Measures, prints and writes the table; `fit` are more settings for the training."""
    with TemporaryDirectory() as runs:
        _twofold(runs, "fit", "-c", str(ROOT / "configs" / "palindrome_long.yaml"), *fit)
        (config,) = Path(runs).glob("*/*/config.yaml")
        rows = [ask(runs, config, length) for length in lengths]
    with replacing(results) as draft, draft.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def ask(runs: str, config: Path, length: int) -> dict[str, Any]:
    """The row of one length."""
    start = time.perf_counter()
    asked = ("--data.test_lengths", f"[{length}]", "--data.test_size", str(TESTED))
    peak = _twofold(runs, "test", "-c", str(config), "--ckpt_path", "last", *asked)
    seconds = time.perf_counter() - start
    with (config.parent / "test.csv").open(newline="") as file:
        accuracy = next(csv.DictReader(file))[f"test/accuracy/T={length}"]
    row = {"length": length, "accuracy": accuracy, "peak_mb": round(peak), "seconds": round(seconds, 1)}
    print(", ".join(f"{name} {value}" for name, value in row.items()), flush=True)
    return row


def _twofold(runs: str, *arguments: str) -> float:
    """Runs the command in a process of its own; returns its peak memory in MB."""
    command = [str(Path(sys.executable).with_name("twofold")), *arguments]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=ROOT, env={**os.environ, "TWOFOLD_RUNS": runs})
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(os.waitstatus_to_exitcode(status))
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
    return usage.ru_maxrss * unit / 1e6


if __name__ == "__main__":
    main()
