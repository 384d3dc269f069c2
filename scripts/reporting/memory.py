"""Figures of the memory lesson: learning curves, gates, and recall of the second half."""

from collections.abc import Sequence
from typing import Any

import torch
import yaml
from jaxtyping import Float
from matplotlib.axes import Axes
from torch import Tensor

from datamodules import PalindromeDataModule
from lightning_modules import PalindromeLSTM
from scripts import plot_gates
from scripts.plotting import panels, svg
from scripts.reporting.page import Figure, Picture, Table, picture_of
from scripts.reporting.runs import TrainedRun

CHANCE = 0.1
METRICS = {"train/loss": "cross-entropy", "train/accuracy": "accuracy"}


def curves(runs: Sequence[TrainedRun], length: int) -> Figure:
    """Loss and accuracy against batches, a line for each run, and a table of the last validation."""
    figure, axes = panels(2)
    for run in runs:
        style: dict[str, Any] = {"linestyle": "--" if run.job.config == "palindrome_rnn" else "-", "linewidth": 1.6}
        for axis, metric in zip(axes, METRICS, strict=True):
            axis.plot(*run.points(metric), label=run.job.title, **style)
    for axis, label in zip(axes, METRICS.values(), strict=True):
        axis.set(xlabel="batches", ylabel=label)
    axes[0].set_yscale("log")
    axes[0].legend(frameon=False, fontsize=8)
    accuracy_axis(axes[1])
    picture = Picture(f"curves_T{length}.svg", svg(figure), f"Loss and accuracy on palindromes of {length} digits")
    rows = [
        [run.job.title, f"{100 * run.points('val/accuracy')[1][-1]:.1f} %", f"{run.points('val/loss')[1][-1]:.4f}"]
        for run in runs
    ]
    title = f"Validation on palindromes of {length} digits after the last batch"
    return Figure([picture], [Table(("network", "accuracy", "loss"), rows, title)])


def gates(runs: Sequence[TrainedRun], length: int) -> Figure:
    """What `scripts.plot_gates` shows of the networks while they read the same palindrome."""
    alt = f"Gates and memories of two networks at each digit of a palindrome of {length}"
    arguments = (*(run.checkpoint for run in runs), "--length", length)
    return Figure([picture_of(plot_gates.main, arguments, "gates.png", alt)])


def recall(run: TrainedRun) -> Figure:
    """Accuracy and length against batches, and accuracy at each position of the second half."""
    config = yaml.safe_load(run.run.config.read_text(encoding="utf-8"))
    length = config["data"]["init_args"]["length"]
    model = PalindromeLSTM.load_from_checkpoint(run.checkpoint).eval()
    accuracy = accuracy_by_position(model, length, config["seed_everything"])
    figure, (learning, growth, position) = panels(3)
    learning.plot(*run.points("train/accuracy"), linewidth=1.2)
    learning.set(xlabel="batches", ylabel="accuracy")
    growth.step(*run.points("train/length"), where="post", linewidth=1.6)
    growth.axhline(length, color="grey", linewidth=0.8, linestyle=":")
    growth.set(xlabel="batches", ylabel="length of the palindromes")
    position.bar(range(length - len(accuracy) + 1, length + 1), accuracy.tolist())
    position.set(xlabel=f"position in palindromes of {length}", ylabel="accuracy")
    for axis in (learning, position):
        accuracy_axis(axis)
    alt = "Accuracy against batches, length against batches, and accuracy by position"
    note = (
        f"The length reached {max(run.points('train/length')[1]):.0f} digits within {run.run.step:,} batches. On new "
        f"palindromes of {length} digits the best weights write {accuracy.mean():.1%} of the second half correctly."
    )
    return Figure([Picture("recall.svg", svg(figure), alt)], notes=[note])


@torch.no_grad()
def accuracy_by_position(model: PalindromeLSTM, length: int, seed: int) -> Float[Tensor, " positions"]:
    """The accuracy on validation palindromes at each position of the second half."""
    data = PalindromeDataModule(length, target="second_half")
    data.load_state_dict({"seed": seed})
    right = [model(digits, target.shape[1]).argmax(dim=2) == target for digits, target in data.val_dataloader()]
    return torch.cat(right).float().mean(dim=0)


def accuracy_axis(axis: Axes) -> None:
    """Gives a panel the same limits as others that show an accuracy, and a line at the accuracy of guessing."""
    axis.set_ylim(0, 1.03)
    axis.axhline(CHANCE, color="grey", linewidth=0.8, linestyle=":")
    axis.annotate("chance", (0.01, CHANCE + 0.02), xycoords=("axes fraction", "data"), color="grey", fontsize=8)
