"""How far back each network remembers, and what each remedy contributes: initialisation, gates, growing length.

    python -m scripts.memory_horizon            all of it; writes memory_horizon.csv and .png to benchmarks/results
    python -m scripts.memory_horizon --short    lengths 5, 20, 50, one rate, one seed; to the current directory

Every network is trained at every fixed length, and with the length growing from 5 to a greater one, with each learning
rate and seed, on the same budget: 64 units, batches of 64 fresh palindromes, Adam, gradients clipped at norm 1, at most
1,000 batches. A run ends early when ten batches in a row are perfect at its full length, and a growing one also when
300 batches go by without growth. The horizon that an initialiser is given is the run's full length. Afterwards each
network names the last digit of palindromes of many lengths, most of which it never saw.

Runs are independent and finished ones are not repeated, so it may be stopped and started again at any time.
"""

import os
import sys
from argparse import Namespace
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, fields
from functools import partial
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from lightning.pytorch import seed_everything
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.progress import track

from callbacks import LengthCurriculum, StopWhenSolved
from common.files import replacing
from datamodules import ChunkedPalindromes, PalindromeDataModule
from lightning_modules import PalindromeLSTM, PalindromeRNN
from metrics.mode_coverage import DIGITS
from scripts.plain_loop import bare_trainer, settle
from scripts.plotting import panels, png
from twofold.errors import OneLineParser, UsageError, exit_code
from twofold.tables import read_rows, write_rows

Network = PalindromeLSTM | PalindromeRNN

NETWORKS: dict[str, Callable[..., Network]] = {
    "RNN as it comes": partial(PalindromeRNN),
    "RNN orthogonal": partial(PalindromeRNN, init="orthogonal"),
    "RNN identity": partial(PalindromeRNN, nonlinearity="relu", init="identity"),
    "LSTM as it comes": partial(PalindromeLSTM),
    "LSTM forget bias 1": partial(PalindromeLSTM, init="forget_one"),
    "LSTM chrono": partial(PalindromeLSTM, init="chrono"),
    "LSTM forget bias log T": partial(PalindromeLSTM, init="forget_log"),
}
HIDDEN = BATCH = 64
PATIENCE = 300
TESTED_WITH = 256
GUESSING = 1 / DIGITS


@dataclass(frozen=True)
class Run:
    """One network to be trained, at `length` or with the length growing towards it."""

    network: str
    growing: bool
    length: int
    rate: float
    seed: int
    at_most: int
    """Batches."""


@dataclass(frozen=True)
class Study:
    """What is crossed with what; `tested` are the lengths at which a trained network is asked, its own among them."""

    lengths: Sequence[int]
    grown_to: int
    rates: Sequence[float]
    seeds: Sequence[int]
    batches: int
    tested: Sequence[int]

    def runs(self) -> list[Run]:
        """Seed by seed, so that what has been finished at any time is a study of its own."""
        trainings = [(False, length) for length in self.lengths] + [(True, self.grown_to)]
        crossed = product(self.seeds, self.rates, trainings, NETWORKS)
        return [
            Run(network, growing, length, rate, seed, self.batches)
            for seed, rate, (growing, length), network in crossed
        ]


FULL = Study(
    lengths=(5, 20, 50, 100, 200),
    grown_to=1000,
    rates=(1e-3, 3e-3, 1e-2),
    seeds=(1, 2, 3),
    batches=1000,
    tested=(5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000),
)
SHORT = Study(
    lengths=(5, 20, 50), grown_to=50, rates=(3e-3,), seeds=(1,), batches=400, tested=(5, 10, 20, 50, 100, 200, 500)
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures what isn't measured yet, writes table and picture; returns the exit code."""
    return exit_code("memory_horizon", _run, arguments)


def _run(arguments: list[str]) -> int:
    wanted = _parse(arguments)
    table = wanted.out / "memory_horizon.csv"
    measure(SHORT if wanted.short else FULL, table)
    picture = table.with_suffix(".png")
    with replacing(picture) as draft:
        draft.write_bytes(png(draw(read(table)), dpi=130))
    print(f"{table}\n{picture}")
    return 0


def measure(study: Study, table: Path) -> None:
    """Trains what `table` doesn't hold yet, in as many processes as there are cores, each with one thread.

    Raises:
        UsageError: when the table is of a study that asked at other lengths.
    """
    rows = read(table)
    if rows and [name for name in rows[0] if name.startswith("T=")] != [f"T={length}" for length in study.tested]:
        raise UsageError(f"{table} holds a study that asked at other lengths; move it away, or write another --out")
    finished = {Run(**{field.name: row[field.name] for field in fields(Run)}) for row in rows}
    open_runs = [run for run in study.runs() if run not in finished]
    # One thread each, because these networks are too small for two to share the work.
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn"), initializer=settle) as processes:
        futures = [processes.submit(trained, run, study.tested) for run in open_runs]
        try:
            for future in track(as_completed(futures), "memory horizon", total=len(futures)):
                rows.append(future.result())
                write_rows(table, list(rows[0]), rows)
        except BaseException:
            processes.shutdown(cancel_futures=True)
            raise


def trained(run: Run, tested: Sequence[int]) -> dict[str, Any]:
    """The run's row: what it was, how it went, and its accuracy at each length tested."""
    seed_everything(run.seed, verbose=False)
    module = network(run)
    curriculum = LengthCurriculum(start=5 if run.growing else run.length, patience=PATIENCE)
    until_solved = StopWhenSolved()
    trainer = bare_trainer([curriculum, until_solved], run.at_most)
    trainer.fit(module, datamodule=PalindromeDataModule(run.length, BATCH))
    went = {"batches": trainer.global_step, "reached": curriculum.length, "solved": until_solved.solved}
    return asdict(run) | went | {f"T={length}": accuracy(module, length) for length in tested}


def network(run: Run) -> Network:
    """The network of a run, before it is trained."""
    make = NETWORKS[run.network]
    horizon = {"horizon": run.length} if make.func is PalindromeLSTM else {}  # type: ignore[attr-defined]
    return make(hidden_size=HIDDEN, optimizer=partial(torch.optim.Adam, lr=run.rate, fused=True), **horizon)


@torch.no_grad()
def accuracy(module: Network, length: int) -> float:
    """The share of palindromes, the same for every network, whose last digit it names."""
    state, right = None, 0
    for chunk in ChunkedPalindromes(length, TESTED_WITH, TESTED_WITH, seed=0):
        output, state = module.network(module.one_hot(chunk.digits), state)
        if chunk.ends:
            right += int((module.readout(output[-1]).argmax(dim=1) == chunk.target).sum())
    return right / TESTED_WITH


def read(table: Path) -> list[dict[str, Any]]:
    """The rows of the table, with numbers as numbers; none where there is no table."""
    kinds: dict[str, Callable[[str], Any]] = dict.fromkeys(("length", "seed", "at_most", "batches", "reached"), int)
    kinds |= {"network": str, "growing": "True".__eq__, "solved": "True".__eq__}
    return [{name: kinds.get(name, float)(text) for name, text in row.items()} for row in read_rows(table)]


def draw(rows: list[dict[str, Any]]) -> Figure:
    """Accuracy against length: the mean over seeds at each network's best rate, and a band."""
    figure, (fixed, unseen, grown) = panels(3)
    lengths = sorted({row["length"] for row in rows if not row["growing"]})
    tested = [int(name.removeprefix("T=")) for name in rows[0] if name.startswith("T=")]
    middle = lengths[1]
    for number, name in enumerate(NETWORKS):
        style: dict[str, Any] = {"color": f"C{number}", "linestyle": "--" if name.startswith("RNN") else "-"}
        ours = [row for row in rows if row["network"] == name]
        at_fixed = {T: [row for row in ours if not row["growing"] and row["length"] == T] for T in lengths}
        _line(fixed, {T: _at_best_rate(at_fixed[T], f"T={T}") for T in lengths}, name, style)
        trained_at_middle = _best_rate(at_fixed[middle], f"T={middle}")
        _line(unseen, {T: [row[f"T={T}"] for row in trained_at_middle] for T in tested}, name, style)
        grown_rows = [row for row in ours if row["growing"]]
        best = _best_rate(grown_rows, f"T={grown_rows[0]['length']}", "reached") if grown_rows else []
        _line(grown, {T: [row[f"T={T}"] for row in best] for T in tested}, name, style)
    fixed.set(title="trained at this length", ylabel="share named right")
    unseen.set(title=f"trained at {middle} digits")
    goal = next(row["length"] for row in rows if row["growing"])
    grown.set(title=f"length grown from 5 towards {goal:,} digits")
    for axis, ticks, seen in ((fixed, lengths, None), (unseen, tested, middle), (grown, tested, goal)):
        axis.set(xscale="log", xlabel="length of the palindromes", ylim=(0, 1.03))
        axis.set_xticks(ticks, [f"{tick:,}" for tick in ticks], fontsize=8, rotation=45 if len(ticks) > 6 else 0)
        axis.minorticks_off()
        axis.axhline(GUESSING, color="grey", linewidth=0.8, linestyle=":")
        if seen:
            axis.axvline(seen, color="grey", linewidth=0.8, linestyle=":")
    figure.legend(*fixed.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    figure.set_size_inches(13.5, 4.2)
    return figure


def _best_rate(rows: Iterable[dict[str, Any]], *by: str) -> list[dict[str, Any]]:
    """The rows of the learning rate that is best on average by the first of these columns, at a tie by the next."""
    by_rate: dict[float, list[dict[str, Any]]] = {}
    for row in rows:
        by_rate.setdefault(row["rate"], []).append(row)
    return max(by_rate.values(), key=lambda same: [mean(row[name] for row in same) for name in by], default=[])


def _at_best_rate(rows: Iterable[dict[str, Any]], column: str) -> list[float]:
    return [row[column] for row in _best_rate(rows, column)]


def _line(axis: Axes, accuracies: dict[int, list[float]], name: str, style: dict[str, Any]) -> None:
    points = {length: values for length, values in accuracies.items() if values}
    axis.plot(list(points), [mean(values) for values in points.values()], label=name, marker=".", **style)
    lowest, highest = ([f(values) for values in points.values()] for f in (min, max))
    axis.fill_between(list(points), lowest, highest, color=style["color"], alpha=0.12, linewidth=0)


def _parse(arguments: list[str]) -> Namespace:
    parser = OneLineParser(prog="python -m scripts.memory_horizon", description=__doc__)
    parser.add_argument("--short", action="store_true", help="lengths 5, 20, 50, one rate, one seed")
    parser.add_argument("--out", type=Path, help="where table and picture go")
    wanted = parser.parse_args(arguments)
    wanted.out = wanted.out or (Path() if wanted.short else Path("benchmarks/results"))
    if wanted.out.exists() and not wanted.out.is_dir():
        raise UsageError(f"--out {wanted.out} is no folder; write a folder's path")
    return wanted


if __name__ == "__main__":
    sys.exit(main())
