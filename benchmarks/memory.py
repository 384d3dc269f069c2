"""What recurrent networks learn to remember: python -m benchmarks.memory [solved] [tasks] [recall] …

- solved: the shipped palindrome configs by `twofold fit`, several seeds each, until they are solved (ten batches in a
  row without an error at the full length), then `twofold test` on fresh palindromes. Writes palindromes_solved.csv.
- untrained: trains five seeds of configs/palindrome_long.yaml at 1,000 digits, then tests each at up to 1,000,000, on
  100 palindromes of uniform digits and 100 of each worst case; at 1,000,000 of worst cases on constant rests only. Each
  length is tested in a process of its own. Writes untrained_lengths.csv: right answers of each seed, length and case;
  peak memory and seconds of the process.
- horizon: initialisations of RNN and LSTM, at fixed and growing lengths; see `benchmarks.memory_horizon`.
- latch: gains, input scales and sizes of the RNN's latch; see there.
- tasks, lengths, far: ten networks on six tasks; see `benchmarks.memory_tasks`.
- recall: an LSTM writes the second half of a palindrome, whose length grows by 10 % (2 digits at least) each time
  three batches in a row are perfect. 10 minutes of one core, one seed. Writes recall_growth.csv and
  recall_accuracy.csv.

Rows that are there are not measured again.
"""

import sys
import time
from argparse import Namespace
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from copy import deepcopy
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch
import yaml
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything

from benchmarks.command import run, twofold
from benchmarks.memory_horizon import horizon, latch, settle
from benchmarks.memory_tasks import far, lengths, tasks
from benchmarks.results import Results
from callbacks import LengthCurriculum
from datamodules import PalindromeDataModule
from lightning_modules import PalindromeLSTM
from scripts.reporting.memory import accuracy_by_position
from scripts.reporting.sequence_tasks import plain_trainer
from twofold.provenance import CONFIGS
from twofold.tables import read_rows


class Case(NamedTuple):
    """A config at a length, with how many seeds to train and how many palindromes to test."""

    config: str
    length: int
    seeds: int
    tested: int
    settings: tuple[str, ...] = ()


STOP = ("--trainer.callbacks+=callbacks.StopWhenSolved",)
CASES = (
    Case("palindrome_lstm", 5, 5, 10_000, STOP),
    Case("palindrome_lstm", 20, 5, 10_000, STOP),
    Case("palindrome_long", 1000, 5, 10_000),
    Case("palindrome_recall", 20, 3, 10_000),
    Case("palindrome_long", 10_000, 5, 1000),
)


def solved(options: Namespace) -> None:
    """How soon the shipped configs solve their palindromes."""
    results = Results(options.out / "palindromes_solved.csv", "config", "length", "seed")
    for case in CASES:
        for seed in range(1, case.seeds + 1):
            if not results.has(config=case.config, length=case.length, seed=seed):
                results.add(solve(case, seed))


def solve(case: Case, seed: int) -> dict[str, Any]:
    """Trains and tests; returns the row."""
    with TemporaryDirectory() as runs:
        config = CONFIGS / f"{case.config}.yaml"
        length = ("--data.length", case.length)
        twofold(runs, "fit", "-c", config, *length, "--seed_everything", seed, *case.settings)
        (run,) = (path.parent for path in Path(runs).glob("*/*/run.json"))
        size = ("--data.test_size", case.tested, "--data.worst_cases", "[]")
        twofold(runs, "test", "-c", run / "config.yaml", "--ckpt_path", "last", *size)
        limit = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))["trainer"]["max_steps"]
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


LENGTHS = (1000, 10_000, 100_000, 1_000_000)
SEEDS = (1, 2, 3, 4, 5)
TESTED = 100
"""Palindromes of uniform digits, as many as there are of each worst case."""


def untrained(options: Namespace) -> None:
    """Right answers at lengths that the network wasn't trained at."""
    results = Results(options.out / "untrained_lengths.csv", "seed", "length", "case")
    for seed in SEEDS:
        missing = [length for length in LENGTHS if not results.has(seed=seed, length=length)]
        with TemporaryDirectory() as runs:
            if missing:
                twofold(runs, "fit", "-c", CONFIGS / "palindrome_long.yaml", "--seed_everything", seed)
            for length in missing:
                (config,) = Path(runs).glob("*/*/config.yaml")
                results.add(*({"seed": seed, **row} for row in right_answers(config, length)))


def right_answers(config: Path, length: int) -> list[dict[str, Any]]:
    """Tests the last checkpoint of a run; returns a row for each case."""
    start = time.perf_counter()
    settings = ("--data.test_lengths", f"[{length}]", "--data.test_size", TESTED, "--data.batch_size", TESTED)
    fewer = ("--data.worst_cases", "[constant_rest]") if length == 1_000_000 else ()  # each takes minutes
    peak = twofold(config.parents[2], "test", "-c", config, "--ckpt_path", "last", *settings, *fewer)
    used = {"peak_mb": round(peak), "seconds": round(time.perf_counter() - start, 1)}
    (test,) = read_rows(config.parent / "test.csv")
    rows = []
    for name, accuracy in test.items():
        tested, _, case = name.removeprefix("test/accuracy/").partition("/")
        if tested == f"T={length}":
            right = round(TESTED * float(accuracy))
            rows.append({"length": length, "case": case or "uniform", "right": right, "of": TESTED, **used})
    return rows


HIDDEN_SIZES = (64, 128, 256)
MINUTES = 10.0
LONGEST = 1000
"""Digits; no network comes near."""
RECALL_LENGTHS = range(6, 122, 2)
"""Lengths at which a trained network is tested."""


class Mastered(Callback):
    """Records when each length is mastered and keeps the weights; ends training after some minutes of CPU time.

    The weights of the last mastered length are kept, because training may go through bad weights when the time is up.
    """

    def __init__(self, curriculum: LengthCurriculum, minutes: float) -> None:
        self.curriculum = curriculum
        self.minutes = minutes
        self.lengths: dict[int, float] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._start, self._length = time.process_time(), self.curriculum.length
        self.weights = pl_module.state_dict()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        minutes = (time.process_time() - self._start) / 60
        if self.curriculum.length != self._length:
            self.lengths[self._length], self._length = minutes, self.curriculum.length
            self.weights = deepcopy(pl_module.state_dict())
        if minutes > self.minutes:
            trainer.should_stop = True


def recall(options: Namespace) -> None:
    """How many digits an LSTM can write from memory."""
    growth = Results(options.out / "recall_growth.csv", "hidden_size", "length")
    accuracies = Results(options.out / "recall_accuracy.csv", "hidden_size", "length", "position")
    missing = [hidden for hidden in HIDDEN_SIZES if not accuracies.has(hidden_size=hidden)]
    with ProcessPoolExecutor(2, get_context("spawn"), initializer=settle) as processes:
        futures = {processes.submit(train_recall, hidden, MINUTES, RECALL_LENGTHS): hidden for hidden in missing}
        for future in as_completed(futures):
            hidden, (mastered, shares) = futures[future], future.result()
            growth.add(*({"hidden_size": hidden, "length": T, "minutes": round(m, 3)} for T, m in mastered.items()))
            rows = [
                {"hidden_size": hidden, "length": T, "position": T - len(each) + 1 + n, "accuracy": share}
                for T, each in shares.items()
                for n, share in enumerate(each)
            ]
            accuracies.add(*rows, quiet=True)


def train_recall(
    hidden_size: int, minutes: float, lengths: Sequence[int]
) -> tuple[dict[int, float], dict[int, list[float]]]:
    """Trains one network.

    Returns:
        The minutes after which each length was mastered, and for each tested length the accuracy at each position of
        the second half.
    """
    seed_everything(1, verbose=False)
    optimizer = partial(torch.optim.Adam, lr=0.005, fused=True)
    module = PalindromeLSTM(hidden_size, target="second_half", optimizer=optimizer)
    curriculum = LengthCurriculum(start=6, factor=1.1, least_growth=2, perfect_batches=3)
    mastered = Mastered(curriculum, minutes)
    data = PalindromeDataModule(LONGEST, 128, target="second_half")
    plain_trainer([curriculum, mastered]).fit(module, datamodule=data)
    module.load_state_dict(mastered.weights)
    return mastered.lengths, {T: accuracy_by_position(module, T, seed=0).tolist() for T in lengths}


BENCHMARKS = {
    "solved": solved,
    "untrained": untrained,
    "horizon": horizon,
    "latch": latch,
    "tasks": tasks,
    "lengths": lengths,
    "far": far,
    "recall": recall,
}
main = partial(run, "memory", __doc__, BENCHMARKS)

if __name__ == "__main__":
    sys.exit(main())
