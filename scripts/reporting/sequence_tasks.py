"""Networks on sequence tasks: training one in a plain Trainer, its accuracy at other lengths, and two pictures."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from statistics import mean, median
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Int
from lightning.pytorch import Callback, Trainer, seed_everything
from matplotlib.figure import Figure as Drawing
from torch import Tensor, nn
from tqdm import tqdm  # type: ignore[import-untyped]

from callbacks import LengthCurriculum, StopWhenSolved
from common.eval_mode import evaluating
from common.targets import UNASKED
from datamodules import (
    ChunkedPalindromes,
    FlipFlopDataModule,
    InductionDataModule,
    PalindromeDataModule,
    ParityDataModule,
    RecallDataModule,
)
from lightning_modules import SequenceModel
from lightning_modules.sequence import symbols_and_targets
from networks.gru import GRU
from networks.lru import LRU
from networks.lstm import LSTM
from networks.min_gru import MinGRU
from networks.rnn import RNN
from networks.s6 import S6
from networks.transformer import Transformer
from scripts.plotting import panels, png
from scripts.reporting.best_runs import Row, at_best_rate, by_pair
from scripts.reporting.page import Figure, Picture
from twofold.tables import read_rows, write_rows

HIDDEN_SIZE = BATCH_SIZE = 64

NETWORKS: dict[str, Callable[[int, int], nn.Module]] = {
    "RNN default": lambda symbols, T: RNN(symbols, HIDDEN_SIZE),
    "RNN latch": lambda symbols, T: RNN(symbols, HIDDEN_SIZE, init="latch"),
    "LSTM default": lambda symbols, T: LSTM(symbols, HIDDEN_SIZE),
    "LSTM forget bias log T": lambda symbols, T: LSTM(symbols, HIDDEN_SIZE, init="forget_log", horizon=T),
    "GRU update bias log T": lambda symbols, T: GRU(symbols, HIDDEN_SIZE, init="update_log", horizon=T),
    "minGRU": lambda symbols, T: MinGRU(symbols, HIDDEN_SIZE),
    "LRU": lambda symbols, T: LRU(symbols, HIDDEN_SIZE),
    "S6": lambda symbols, T: S6(symbols, HIDDEN_SIZE, expand=1),
    "transformer RoPE": lambda symbols, T: Transformer(symbols, HIDDEN_SIZE, positions="rope"),
    "transformer ALiBi": lambda symbols, T: Transformer(symbols, HIDDEN_SIZE, positions="alibi"),
}
"""From the number of symbols and the training length T."""


class Task(NamedTuple):
    """A task at its training length.

    Attributes:
        data: from the length and other arguments, such as `batch_size`.
        symbols: how many there are.
        length: steps to train at, or digits of a palindrome.
        start: where a growing length starts.
        chance: the accuracy of the best constant answer.
    """

    data: Callable[..., Any]
    symbols: int
    length: int
    start: int
    chance: float


TASKS = {
    "last": Task(PalindromeDataModule, 10, 20, 5, 0.1),
    "second_half": Task(partial(PalindromeDataModule, target="second_half"), 11, 20, 4, 0.1),
    "induction": Task(InductionDataModule, 17, 32, 4, 1 / 16),
    "flip_flop": Task(FlipFlopDataModule, 5, 32, 4, 0.5),
    "recall": Task(partial(RecallDataModule, pairs=3, keys=8, values=8), 16, 16, 12, 1 / 8),
    "parity": Task(ParityDataModule, 2, 32, 4, 0.5),
}


class Training(NamedTuple):
    """One network to train on one task, at its full length, a random or a growing one."""

    task: str
    network: str
    training: str
    learning_rate: float
    seed: int


def train(training: Training, max_batches: int) -> tuple[SequenceModel, dict[str, Any]]:
    """Trains a network until ten batches in a row are without an error at the full length.

    Returns:
        The module, and how it went: `batches`, `seconds` of this process's CPU, `solved`, and the number of weights.
    """
    task = TASKS[training.task]
    seed_everything(training.seed, verbose=False)
    network = NETWORKS[training.network](task.symbols, task.length)
    module = SequenceModel(network, partial(torch.optim.Adam, lr=training.learning_rate, fused=True))
    growth = [LengthCurriculum(start=task.start)] if training.training == "growing" else []
    shortest = {"shortest": task.start} if training.training == "random" else {}
    until_solved = StopWhenSolved()
    trainer = plain_trainer([*growth, until_solved], max_batches)
    start = time.process_time()
    trainer.fit(module, datamodule=task.data(task.length, batch_size=BATCH_SIZE, **shortest))
    seconds = round(time.process_time() - start, 1)
    went = {"batches": trainer.global_step, "seconds": seconds, "solved": until_solved.solved}
    return module, went | {"weights": sum(weight.numel() for weight in module.parameters())}


SHORT = {
    "RNN latch": (1e-2, 300),
    "LSTM forget bias log T": (1e-2, 300),
    "GRU update bias log T": (1e-2, 300),
    "transformer ALiBi": (3e-3, 100),
}
"""The networks of the short form: their learning rate and batches at most."""


def short(path: Path) -> Figure:
    """The experiment in under a minute of one core: four networks, one rate and one seed each; rows are kept in a CSV.

    Args:
        path: of the CSV file. Networks on tasks that have a row aren't trained again.
    """
    rows = read_rows(path)
    done = {(row["task"], row["network"]) for row in rows}
    missing = [(task, network) for task, network in product(TASKS, SHORT) if (task, network) not in done]
    for task, network in tqdm(missing, desc="sequence tasks", disable=not missing):
        rate, batches = SHORT[network]
        run = Training(task, network, "fixed", rate, seed=1)
        module, went = train(run, batches)
        length = TASKS[task].length
        row = run._asdict() | went | {f"T={T}": accuracy(module, task, T, 64) for T in (length, 4 * length)}
        rows.append({name: str(value) for name, value in row.items()})
        write_rows(path, list(dict.fromkeys(name for row in rows for name in row)), rows)
    budgets = ", ".join(f"{name} {most}" for name, (_, most) in SHORT.items())
    note = f"One seed and one learning rate each, batches at most: {budgets}. A 0 says nothing about more batches."
    alt = "Who solves which of six tasks, and in how many batches"
    return Figure([Picture("tasks.png", png(draw_solved(rows), 110), alt)], notes=[note], origin=str(path.name))


def accuracy(module: SequenceModel, task: str, length: int, rows: int) -> float:
    """The share of right answers at a length, on sequences that are the same for every network."""
    symbols, targets = sequences(task, length, rows)
    with evaluating(module):
        predictions = module.predictions(symbols)
    return int((predictions == targets).sum()) / int((targets != UNASKED).sum())


def sequences(task: str, length: int, rows: int) -> tuple[Int[Tensor, "steps rows"], Int[Tensor, "steps rows"]]:
    """Symbols and targets of a test batch, as a function of the arguments."""
    if task == "last":  # a long palindrome comes in parts
        *_, last = chunks = list(ChunkedPalindromes(length, rows, rows, seed=0))
        return symbols_and_targets(last._replace(digits=torch.cat([chunk.digits for chunk in chunks], dim=1)))
    data = TASKS[task].data(length, batch_size=rows, test_size=rows)
    data.load_state_dict({"seed": 0})
    return symbols_and_targets(data.test_batch(0, length))


def plain_trainer(callbacks: Sequence[Callback], max_steps: int = -1) -> Trainer:
    """On the CPU, with gradients clipped at norm 1, without validation, logger, checkpoints and progress bar."""
    return Trainer(
        accelerator="cpu",
        max_steps=max_steps,
        max_epochs=-1,
        gradient_clip_val=1.0,
        limit_val_batches=0,
        callbacks=list(callbacks),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def draw_solved(rows: Sequence[Row]) -> Drawing:
    """A cell for each network and task: seeds solved at the best rate, and the batches of the median one."""
    pairs = {pair: at_best_rate(same) for pair, same in by_pair(rows).items()}
    networks, names = (list(dict.fromkeys(pair[part] for pair in pairs)) for part in (1, 0))
    figure, (axis,) = panels(1)
    batches = np.full((len(networks), len(names)), np.nan)
    for (name, network), runs in pairs.items():
        solved = [int(row["batches"]) for row in runs if row["solved"] == "True"]
        y, x = networks.index(network), names.index(name)
        text = f"0 of {len(runs)}"
        if solved:
            batches[y, x] = median(solved)
            text = f"{len(solved)} of {len(runs)}\n{batches[y, x]:,.0f}"
        axis.text(x, y, text, ha="center", va="center", fontsize=8)
    axis.imshow(np.log(batches), cmap="summer", alpha=0.6, aspect="auto")
    axis.set_xticks(range(len(names)), [f"{name.replace('_', ' ')}\n{TASKS[name].length} steps" for name in names])
    axis.set_yticks(range(len(networks)), networks)
    axis.set_title("seeds solved at the best learning rate, and the batches they took (median)", fontsize=10)
    axis.grid(visible=False)
    figure.set_size_inches(1.8 + 1.1 * len(names), 1 + 0.42 * len(networks))
    return figure


def draw_lengths(rows: Sequence[Row]) -> Drawing:
    """Accuracy against length for each task, a line for each network: the mean of its runs."""
    names = list(dict.fromkeys(row["task"] for row in rows))
    networks = [network for network in NETWORKS if any(row["network"] == network for row in rows)]
    figure, axes = panels(len(names), per_row=3)
    for axis, name in zip(axes, names, strict=True):
        task, lengths = TASKS[name], set[int]()
        for number, network in enumerate(networks):
            runs = [row for row in rows if (row["task"], row["network"]) == (name, network)]
            columns = [column for column in rows[0] if column.startswith("T=") and any(row[column] for row in runs)]
            points = sorted((int(column[2:]), mean(float(row[column]) for row in runs)) for column in columns)
            lengths.update(length for length, _ in points)
            line = "--" if network.startswith("RNN") else ":" if network.startswith("transformer") else "-"
            x, y = zip(*points, strict=True) if points else ((), ())
            axis.plot(x, y, f"C{number}{line}", label=network, marker=".", zorder=20 - number)  # dashed ones on top
        axis.axhline(task.chance, color="grey", linewidth=0.8, linestyle=":")
        axis.axvline(task.length, color="grey", linewidth=0.8, linestyle=":")
        axis.set(title=name.replace("_", " "), xscale="log", xlabel="steps", ylabel="accuracy", ylim=(0, 1.03))
        ticks = sorted(lengths)
        axis.set_xticks(ticks, [f"{tick:,}" for tick in ticks], fontsize=7, rotation=45)
        axis.minorticks_off()
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False, fontsize=8)
    return figure
