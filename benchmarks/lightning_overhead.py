"""What Lightning costs: `twofold fit` beside a bare loop, per batch. Run by: python -m benchmarks.lightning_overhead

Both train the shipped configs/palindrome_lstm.yaml for 500 batches, by turns: same network, initialisation, stream
of batches, clipping and fused Adam. `twofold fit` also validates, logs to CSV and W&B (offline without a key), draws
its bar and writes checkpoints. The bare loop sums the loss on the device and reads it every 50 batches. Starting up
isn't counted.

Writes benchmarks/results/lightning_overhead.csv: milliseconds per batch of each, and their ratio within a round; median
and quartiles over rounds.
"""

import csv
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import torch.nn.functional as F

from benchmarks.command import RESULTS, seconds_after, start
from benchmarks.timing import milliseconds, quartiles
from datamodules import PalindromeDataModule
from lightning_modules import PalindromeLSTM
from twofold.main import main as twofold
from twofold.provenance import CONFIGS

TABLE = RESULTS / "lightning_overhead.csv"
LENGTHS = (5, 20)
BATCHES = 500
ROUNDS = 7


def fit(length: int, batches: int) -> float:
    """Milliseconds per batch of `twofold fit`, from the first batch to the last, by its own stopwatch."""
    with TemporaryDirectory() as runs:
        os.environ["TWOFOLD_RUNS"] = runs
        config = str(CONFIGS / "palindrome_lstm.yaml")
        arguments = ["fit", "-c", config, "--data.length", str(length), "--trainer.max_steps", str(batches)]
        if twofold(arguments) != 0:
            sys.exit(1)
        last, seconds = max(seconds_after(runs).items())
    return 1000 * seconds / last


def bare(length: int, batches: int) -> float:
    """Milliseconds per batch of a loop without Lightning."""
    torch.manual_seed(1)
    module = PalindromeLSTM(64, "forget_log", length)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01, fused=True)
    data = PalindromeDataModule(length, batches_per_epoch=batches)
    data.load_state_dict({"seed": 1})
    return milliseconds(partial(_train, module, optimizer, data)) / batches


def _train(module: PalindromeLSTM, optimizer: torch.optim.Optimizer, data: PalindromeDataModule) -> None:
    total = torch.zeros(())
    for number, (digits, target) in enumerate(data.train_dataloader(), 1):
        loss = F.cross_entropy(module(digits), target)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        total += loss.detach()
        if number % 50 == 0:
            total.item()


def main(results: Path = TABLE, lengths: Sequence[int] = LENGTHS, batches: int = BATCHES, rounds: int = ROUNDS) -> None:
    """Measures, prints and writes the table."""
    with results.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["length", "threads", "what", "lower_quartile", "median", "upper_quartile"])
        for length in lengths:
            fit(length, batches), bare(length, batches)
            times = [(fit(length, batches), bare(length, batches)) for _ in range(rounds)]
            measured = {
                "twofold fit, ms": [ours for ours, _ in times],
                "bare loop, ms": [theirs for _, theirs in times],
                "ratio": [ours / theirs for ours, theirs in times],
            }
            for what, values in measured.items():
                row = [length, torch.get_num_threads(), what, *(round(value, 3) for value in quartiles(values))]
                table.writerow(row)
                print("T={}, {} threads, {}: {} {} {}".format(*row), flush=True)


if __name__ == "__main__":
    sys.exit(start("lightning_overhead", main, __doc__))
