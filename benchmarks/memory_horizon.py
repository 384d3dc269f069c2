"""How long RNNs and LSTMs remember, by initialisation and training length: python -m benchmarks.memory horizon

Every network trains at every fixed length, and with the length growing from 5 to a greater one, with each learning
rate and seed, on the same budget: 64 units, batches of 64 fresh palindromes, Adam, gradients clipped at norm 1, at most
1,000 batches. A run ends early when ten batches in a row are perfect at its full length, a growing one also after 300
batches without growth. The initialiser's horizon is the run's full length. Afterwards each network is tested at many
lengths, most of which it wasn't trained at.

The latch also trains at the greater length from the start.

Writes memory_horizon.csv, a row per run, and memory_horizon.png. The runs are independent; finished ones are not
repeated.

`python -m benchmarks.memory latch` trains RNNs that start as latches of several gains, input scales and sizes, at
`LATCH_LENGTH` digits, with three seeds and at most `LATCH_BATCHES` batches. Writes memory_latch.csv.
"""

import logging
import os
import warnings
from argparse import Namespace
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import torch
from lightning.pytorch import Callback, Trainer, seed_everything
from matplotlib.figure import Figure
from tqdm import tqdm  # type: ignore[import-untyped]

from benchmarks.results import Results
from callbacks import LengthCurriculum, StopWhenSolved
from common.files import replacing
from datamodules import ChunkedPalindromes, PalindromeDataModule
from lightning_modules import PalindromeLSTM, PalindromeRNN
from scripts.plotting import panels, png
from scripts.reporting.memory import accuracy_axis
from scripts.reporting.sequence_tasks import plain_trainer
from twofold.tables import grouped
from twofold.warning_filters import filter_warnings

Network = PalindromeLSTM | PalindromeRNN
Row = Mapping[str, str]

NETWORKS: dict[str, Callable[..., Network]] = {
    "RNN default": PalindromeRNN,
    "RNN orthogonal": partial(PalindromeRNN, init="orthogonal"),
    "RNN identity": partial(PalindromeRNN, nonlinearity="relu", init="identity"),
    "RNN latch": partial(PalindromeRNN, init="latch"),
    "LSTM default": PalindromeLSTM,
    "LSTM forget bias 1": partial(PalindromeLSTM, init="forget_one"),
    "LSTM chrono": partial(PalindromeLSTM, init="chrono"),
    "LSTM forget bias log T": partial(PalindromeLSTM, init="forget_log"),
}
LENGTHS = (5, 20, 50, 100, 200)
GROWN_TO = 1000
LEARNING_RATES = (1e-3, 3e-3, 1e-2)
SEEDS = (1, 2, 3)
MAX_BATCHES = 1000
TESTED_LENGTHS = (5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)
HIDDEN_SIZE = BATCH_SIZE = 64
PATIENCE = 300
TESTED = 256


class Run(NamedTuple):
    """One network to train, at `length` or with the length growing towards it."""

    network: str
    growing: bool
    length: int
    learning_rate: float
    seed: int
    max_batches: int


def all_runs() -> list[Run]:
    """Every combination, seed by seed."""
    trainings = [(False, length) for length in LENGTHS] + [(True, GROWN_TO), (False, GROWN_TO)]
    return [
        Run(network, growing, length, rate, seed, MAX_BATCHES)
        for seed, rate, (growing, length), network in product(SEEDS, LEARNING_RATES, trainings, NETWORKS)
        if network == "RNN latch" or growing or length != GROWN_TO
    ]


def horizon(options: Namespace) -> None:
    """Initialisations of RNN and LSTM, at fixed and growing lengths."""
    results = Results(options.out / "memory_horizon.csv", *Run._fields)
    train_missing(results, all_runs(), partial(train_run, tested=TESTED_LENGTHS))
    write_picture(options.out / "memory_horizon.png", draw(results.rows))


def latch(options: Namespace) -> None:
    """Which latches solve the palindromes."""
    runs = [LatchRun(*each) for each in product(LATCH_GAINS, LATCH_SCALES, LATCH_SIZES, SEEDS)]
    train_missing(Results(options.out / "memory_latch.csv", *LatchRun._fields), runs, train_latch)


def train_missing(results: Results, runs: Sequence[Any], train: Callable[[Any], dict[str, Any]]) -> None:
    """Trains what has no row yet, in as many processes as there are cores, each with one thread, under one bar."""
    missing = [run for run in runs if not results.has(**run._asdict())]
    with (
        ProcessPoolExecutor(os.cpu_count(), get_context("spawn"), initializer=settle) as processes,
        tqdm(initial=len(runs) - len(missing), total=len(runs), unit="run") as bar,
    ):
        futures = [processes.submit(train, run) for run in missing]
        try:
            for future in futures:  # in this order, so that a file's order doesn't depend on the machine
                results.add(future.result(), quiet=True)
                bar.update()
        except BaseException:
            processes.shutdown(cancel_futures=True)
            raise


def write_picture(path: Path, figure: Figure) -> None:
    """Writes a figure as PNG; the file appears whole or not at all."""
    with replacing(path) as draft:
        draft.write_bytes(png(figure, dpi=130))


def train_run(run: Run, tested: Sequence[int]) -> dict[str, Any]:
    """The row of a run: what it is, how it went, and its accuracy at each tested length."""
    seed_everything(run.seed, verbose=False)
    horizon = {"horizon": run.length} if run.network.startswith("LSTM") else {}
    optimizer = partial(torch.optim.Adam, lr=run.learning_rate, fused=True)
    module = NETWORKS[run.network](hidden_size=HIDDEN_SIZE, optimizer=optimizer, **horizon)
    curriculum = LengthCurriculum(start=5 if run.growing else run.length)
    until_solved = StopWhenSolved()
    trainer = plain_trainer([curriculum, GiveUp(curriculum), until_solved], run.max_batches)
    trainer.fit(module, datamodule=PalindromeDataModule(run.length, BATCH_SIZE))
    went = {"batches": trainer.global_step, "length_reached": curriculum.length, "solved": until_solved.solved}
    return run._asdict() | went | {f"T={length}": accuracy(module, length) for length in tested}


class LatchRun(NamedTuple):
    """An RNN that starts as a latch."""

    gain: float
    input_scale: float
    hidden_size: int
    seed: int


LATCH_GAINS, LATCH_SCALES, LATCH_SIZES = (1.5, 2.0, 3.0, 5.0), (0.3, 1.0, 3.0), (8, 16, 64, 256)
LATCH_LENGTH, LATCH_RATE, LATCH_BATCHES = 100, 3e-3, 200


def train_latch(run: LatchRun) -> dict[str, Any]:
    """The row of a latch: in how many batches it was solved, and its accuracy at the trained length and far above."""
    seed_everything(run.seed, verbose=False)
    optimizer = partial(torch.optim.Adam, lr=LATCH_RATE, fused=True)
    sizes = {"hidden_size": run.hidden_size, "gain": run.gain, "input_scale": run.input_scale}
    module = PalindromeRNN(**sizes, init="latch", optimizer=optimizer)  # type: ignore[arg-type]
    until_solved = StopWhenSolved()
    trainer = plain_trainer([until_solved], LATCH_BATCHES)
    trainer.fit(module, datamodule=PalindromeDataModule(LATCH_LENGTH, BATCH_SIZE))
    went = {"batches": trainer.global_step, "solved": until_solved.solved}
    return run._asdict() | went | {f"T={length}": accuracy(module, length) for length in (LATCH_LENGTH, 10_000)}


class GiveUp(Callback):
    """Stops a training whose length hasn't grown for `PATIENCE` batches, unless it is the full length."""

    def __init__(self, curriculum: LengthCurriculum) -> None:
        self.curriculum = curriculum
        self.length, self.grown_at = curriculum.length, 0

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if self.curriculum.length > self.length:
            self.length, self.grown_at = self.curriculum.length, trainer.global_step
        full = self.length == self.curriculum.data.length
        trainer.should_stop |= not full and trainer.global_step - self.grown_at >= PATIENCE


@torch.no_grad()
def accuracy(module: Network, length: int) -> float:
    """The share of palindromes, the same for every network, whose last digit it names."""
    state, right = None, 0
    for chunk in ChunkedPalindromes(length, TESTED, TESTED, seed=0):
        output, state = module.network(module.one_hot(chunk.digits), state)
        if chunk.ends:
            right += int((module.readout(output[-1]).argmax(dim=1) == chunk.target).sum())
    return right / TESTED


def settle() -> None:
    """To be called first in a process that trains small networks: one thread, no messages, no denormal numbers.

    Gradients too small for a normal float32 become 0. A CPU computes several times slower with denormal numbers, and
    next to Adam's ε of 1e-8 they are nothing.
    """
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    filter_warnings()
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


def draw(rows: Sequence[Row]) -> Figure:
    """Accuracy against length: the mean over seeds at each network's best learning rate, and the range."""
    figure, axes = panels(3)
    fixed, tested, middle = list(LENGTHS), list(TESTED_LENGTHS), LENGTHS[1]
    studies: list[tuple[str, bool, list[int], int | None]] = [
        ("trained at this length", False, fixed, None),
        (f"trained at {middle} digits", False, tested, middle),
        (f"length grown from 5 towards {GROWN_TO:,} digits", True, tested, GROWN_TO),
    ]
    for axis, (title, growing, ticks, trained_at) in zip(axes, studies, strict=True):
        for number, name in enumerate(NETWORKS):
            points = {}
            for T in ticks:
                study = (name, str(growing), str(trained_at or T))
                runs = [row for row in rows if (row["network"], row["growing"], row["length"]) == study]
                points[T] = [float(row[f"T={T}"]) for row in best_rate(runs, trained_at or T)]
            line = "--" if name.startswith("RNN") else "-"
            axis.plot(ticks, [mean(values) for values in points.values()], f"C{number}{line}", label=name, marker=".")
            low, high = ([f(values) for values in points.values()] for f in (min, max))
            axis.fill_between(ticks, low, high, color=f"C{number}", alpha=0.12, linewidth=0)
        axis.set(title=title, xscale="log", xlabel="length of the palindromes", ylabel="accuracy")
        accuracy_axis(axis)
        axis.set_xticks(ticks, [f"{tick:,}" for tick in ticks], fontsize=8, rotation=45 if len(ticks) > 6 else 0)
        axis.minorticks_off()
        if trained_at:
            axis.axvline(trained_at, color="grey", linewidth=0.8, linestyle=":")
    labels = axes[0].get_legend_handles_labels()
    figure.legend(*labels, loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    figure.set_size_inches(13.5, 4.2)
    return figure


def best_rate(rows: Iterable[Row], length: int) -> list[Row]:
    """The rows of the learning rate with the best mean accuracy at a length, at a tie with the longest lengths."""
    columns = (f"T={length}", "length_reached")
    by_rate = grouped(rows, lambda row: row["learning_rate"])
    return max(by_rate.values(), key=lambda same: [mean(float(row[name]) for row in same) for name in columns])
