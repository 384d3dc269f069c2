"""What a batch of fresh palindromes costs: python -m benchmarks.palindrome_batches

Writes benchmarks/results/palindrome_batches.csv: milliseconds per batch of 128, median and spread over 200 batches.
"""

import csv
import statistics
import sys
from functools import partial

from benchmarks.command import RESULTS, start
from benchmarks.timing import milliseconds
from datamodules import PalindromeDataModule

LENGTHS = (5, 20, 100, 1000, 10_000)
BATCH_SIZE = 128
BATCHES = 200
TABLE = RESULTS / "palindrome_batches.csv"


def milliseconds_per_batch(length: int) -> list[float]:
    """The time that each of the batches after the first took."""
    stream = iter(PalindromeDataModule(length, BATCH_SIZE, batches_per_epoch=BATCHES + 1).train_dataloader())
    next(stream)
    return [milliseconds(partial(next, stream)) for _ in range(BATCHES)]


def main() -> None:
    """Measures, prints and writes the table."""
    with TABLE.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["length", "batch_size", "median_ms", "lowest_ms", "highest_ms"])
        for length in LENGTHS:
            times = milliseconds_per_batch(length)
            row = [length, BATCH_SIZE, *(round(f(times), 3) for f in (statistics.median, min, max))]
            table.writerow(row)
            print("T={}, batch {}: {} ms ({} to {})".format(*row))


if __name__ == "__main__":
    sys.exit(start("palindrome_batches", main, __doc__))
