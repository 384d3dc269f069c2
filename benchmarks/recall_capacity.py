"""How many digits an LSTM can write from memory: python -m benchmarks.recall_capacity

The network reads the first half of a palindrome, then blanks, and writes the mirrored half. The recipe is that of
configs/palindrome_recall.yaml: each time three batches in a row are perfect, palindromes grow by 10 %, by two digits at
least, without end. With 64, 128 and 256 cells each, training lasts ten minutes of one core's time.

Writes into benchmarks/results, as soon as a network is trained; what is there already is not repeated:

- recall_growth.csv: how long training had taken when a length was mastered.
- recall_accuracy.csv: of the weights that mastered the last length, the share of digits written right at each length,
  and at each position.
- recall_capacity.png: both, drawn.
"""

import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from copy import deepcopy
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from matplotlib import pyplot as plt

from benchmarks.command import RESULTS, start
from callbacks import LengthCurriculum
from common.files import replacing
from datamodules import PalindromeDataModule
from lightning_modules import PalindromeLSTM
from scripts.plain_loop import bare_trainer, settle
from scripts.plotting import panels
from twofold.tables import read_rows, write_rows

HIDDEN_SIZES = (64, 128, 256)
MINUTES = 10.0
BATCH = 128
ENDLESS = 1000
"""Digits; no network comes near."""
ASKED = range(6, 122, 2)
"""Lengths at which a trained network is asked."""


class Mastered(Callback):
    """Notes each length when it is mastered, and ends training after some minutes of this process's time.

    The weights that mastered the last one are kept, for training may go through bad weights when its time is up.
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


class Outcome(NamedTuple):
    """What became of one network: the minutes at which it had mastered each length, and its accuracy afterwards.

    `accuracy` has for each length asked the share of right digits at each position of the second half.
    """

    mastered: Mapping[int, float]
    accuracy: Mapping[int, Sequence[float]]


def trained(hidden: int, minutes: float, asked: Sequence[int]) -> Outcome:
    """Trains a network with so many cells, on one thread."""
    seed_everything(1, verbose=False)
    module = PalindromeLSTM(hidden, target="second_half", optimizer=partial(torch.optim.Adam, lr=0.005, fused=True))
    curriculum = LengthCurriculum(start=6, factor=1.1, least_growth=2, perfect_batches=3)
    mastered = Mastered(curriculum, minutes)
    bare_trainer([curriculum, mastered]).fit(
        module, datamodule=PalindromeDataModule(ENDLESS, BATCH, target="second_half")
    )
    module.load_state_dict(mastered.weights)
    return Outcome(mastered.lengths, {length: accuracy(module, length) for length in asked})


@torch.no_grad()
def accuracy(module: PalindromeLSTM, length: int) -> list[float]:
    """The share of palindromes with the right digit, at each position of the second half."""
    data = PalindromeDataModule(length, BATCH, target="second_half")
    data.load_state_dict({"seed": 0})
    right = [module(digits, target.shape[1]).argmax(dim=2) == target for digits, target in data.val_dataloader()]
    return torch.cat(right).float().mean(dim=0).tolist()


def main(folder: Path = RESULTS, minutes: float = MINUTES, asked: Sequence[int] = ASKED) -> int:
    """Trains what isn't trained yet, writes tables and picture; returns the exit code."""
    growth, answers = folder / "recall_growth.csv", folder / "recall_accuracy.csv"
    there = {int(row["hidden"]) for row in read_rows(answers)}
    with ProcessPoolExecutor(2, get_context("spawn"), initializer=settle) as processes:
        wanted = [hidden for hidden in HIDDEN_SIZES if hidden not in there]
        futures = {processes.submit(trained, hidden, minutes, asked): hidden for hidden in wanted}
        for future in as_completed(futures):
            hidden, (mastered, accuracies) = futures[future], future.result()
            replace(growth, hidden, [{"length": T, "minutes": round(m, 3)} for T, m in mastered.items()])
            at_positions = [
                {"length": T, "position": T - len(shares) + 1 + n, "accuracy": share}
                for T, shares in accuracies.items()
                for n, share in enumerate(shares)
            ]
            replace(answers, hidden, at_positions)
            print(f"{hidden} cells: mastered {max(mastered, default=0)} digits in {minutes} minutes", flush=True)
    draw(read_rows(growth), read_rows(answers), folder / "recall_capacity.png")
    return 0


def draw(growth: list[dict[str, str]], answers: list[dict[str, str]], path: Path) -> None:
    """Length mastered against minutes; accuracy against length; and against position, at the length where it ends."""
    figure, (mastered, by_length, by_position) = panels(3)
    for colour, hidden in enumerate(HIDDEN_SIZES):
        style: dict[str, Any] = {"color": f"C{colour}", "label": f"{hidden} cells"}
        ours = [row for row in growth if int(row["hidden"]) == hidden]
        mastered.step(
            [float(row["minutes"]) for row in ours], [int(row["length"]) for row in ours], where="post", **style
        )
        shares: dict[int, list[float]] = {}
        for row in answers:
            if int(row["hidden"]) == hidden:
                shares.setdefault(int(row["length"]), []).append(float(row["accuracy"]))
        by_length.plot(list(shares), [sum(share) / len(share) for share in shares.values()], **style)
        # Where capacity ends: the first length above those mastered at which a tenth of the digits is wrong.
        above = max((int(row["length"]) for row in ours), default=0)
        ends = next(
            (length for length, share in shares.items() if length > above and sum(share) / len(share) < 0.9), None
        )
        if ends:
            first = ends - len(shares[ends]) + 1
            style["label"] += f", T={ends}"
            by_position.plot(range(first, ends + 1), shares[ends], **style)
    mastered.set(xlabel="minutes of training", ylabel="length mastered")
    by_length.set(xlabel="length T", ylabel="digits written right", ylim=(0, 1.03))
    by_position.set(xlabel="position in the palindrome", ylabel="digits written right", ylim=(0, 1.03))
    mastered.legend(frameon=False, fontsize=8)
    by_length.legend(frameon=False, fontsize=8)
    by_position.legend(frameon=False, fontsize=8, loc="lower right")
    with replacing(path) as draft:
        figure.savefig(draft, format="png", dpi=130)
    plt.close(figure)


def replace(table: Path, hidden: int, rows: Iterable[Mapping[str, Any]]) -> None:
    """Makes these the rows of a CSV file that are about so many cells."""
    others = [row for row in read_rows(table) if int(row["hidden"]) != hidden]
    all_rows = [*others, *({"hidden": hidden, **row} for row in rows)]
    if all_rows:
        write_rows(table, list(all_rows[0]), all_rows)


if __name__ == "__main__":
    sys.exit(start("recall_capacity", main, __doc__))
