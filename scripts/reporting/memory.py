"""Figures of the first lesson: what palindrome networks learned, and how they keep it."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from torch import Tensor

from common.palindrome import DIGITS
from datamodules import PalindromeDataModule
from lightning_modules import PalindromeLSTM
from scripts import plot_gates
from scripts.plotting import panels, svg
from scripts.reporting.drawn import Drawn, Picture, Table
from scripts.trained_jobs import FinishedRun

GUESSING = 1 / DIGITS
METRICS = {"train/loss": "cross-entropy", "train/accuracy": "accuracy"}


def points(trained: FinishedRun, metric: str) -> tuple[list[int], list[float]]:
    """After how many batches the metric was logged, and its values."""
    rows = [row for row in trained.metrics if row.get(metric)]
    return [int(row["step"]) + 1 for row in rows], [float(row[metric]) for row in rows]


def curves(runs: Sequence[FinishedRun], length: int) -> Drawn:
    """Loss and accuracy of each batch against batches, a line for each run, and how each ended."""
    figure, axes = panels(2)
    for run in runs:
        style: dict[str, Any] = {"linewidth": 1.6}
        if run.job.config == "palindrome_rnn":
            style |= {"linestyle": "--", "zorder": 3}  # so that what lies beneath can be seen as well
        for axis, metric in zip(axes, METRICS, strict=True):
            axis.plot(*points(run, metric), label=run.job.title, **style)
    for axis, label in zip(axes, METRICS.values(), strict=True):
        axis.set(xlabel="batches", ylabel=label)
    axes[0].set_yscale("log")
    _accuracies(axes[1])
    axes[1].annotate("guessing", (0.01, GUESSING + 0.02), xycoords=("axes fraction", "data"), color="grey", fontsize=8)
    axes[0].legend(frameon=False, fontsize=8)
    picture = Picture(f"curves_T{length}.svg", svg(figure), f"Loss and accuracy for palindromes of {length} digits")
    rows = [[run.job.title, f"{100 * accuracy:.1f} %", f"{loss:.4f}"] for run in runs for loss, accuracy in [_end(run)]]
    title = f"On palindromes of {length} digits kept for validation, after the last batch"
    return Drawn([picture], [Table(("network", "accuracy", "loss"), rows, title=title)])


def _end(run: FinishedRun) -> tuple[float, float]:
    """Loss and accuracy of the last validation."""
    return points(run, "val/loss")[1][-1], points(run, "val/accuracy")[1][-1]


def gates(runs: Sequence[FinishedRun], length: int) -> Drawn:
    """What gates and memories do while each network reads the same palindrome."""
    palindrome = plot_gates.random_palindrome(length, plot_gates.DEFAULT_SEED)
    readings = [plot_gates.read(plot_gates.load(run.checkpoint()), palindrome) for run in runs]
    written = plot_gates.written(palindrome)
    picture = svg(plot_gates.draw(palindrome, readings))
    alt = f"Gates and memories, step by step, while two networks read {written}"
    notes = [f"{reading.network}: {reading.result}." for reading in readings]
    return Drawn([Picture("gates.svg", picture, alt)], notes=notes)


def recall(run: FinishedRun) -> Drawn:
    """Digits written right and length against batches, and right ones at each position of the second half."""
    model = PalindromeLSTM.load_from_checkpoint(run.checkpoint())
    length = run.config["data"]["init_args"]["length"]
    seed = run.config["seed_everything"]
    figure, (learning, growth, position) = panels(3)
    learning.plot(*points(run, "train/accuracy"), linewidth=1.2)
    learning.set(xlabel="batches", ylabel="digits written right")
    _accuracies(learning)
    growth.step(*points(run, "train/length"), where="post", linewidth=1.6)
    growth.axhline(length, color="grey", linewidth=0.8, linestyle=":")
    growth.set(xlabel="batches", ylabel="length of the palindromes")
    right = right_by_position(model, length, seed)
    first = length - len(right) + 1
    position.bar(range(first, length + 1), right.tolist())
    position.set(xlabel=f"position in palindromes of {length}", ylabel="digits written right")
    _accuracies(position)
    picture = Picture("recall.svg", svg(figure), "Digits written right, length against batches, right ones by position")
    reached = int(max(points(run, "train/length")[1]))
    grown = f"{run.run.step:,} batches; it grew to {reached} digits."
    asked = f"Asked for all {len(right)} digits of the second half of new palindromes of {length}, its best weights"
    written = f"{asked} write {100 * right.mean():.1f} % of them right."
    return Drawn([picture], notes=[grown, written])


@torch.no_grad()
def right_by_position(model: PalindromeLSTM, length: int, seed: int) -> Float[Tensor, " positions"]:
    """The share of validation palindromes with the right digit, at each position of the second half."""
    data = PalindromeDataModule(length, target="second_half")
    data.load_state_dict({"seed": seed})
    right = [model(digits, target.shape[1]).argmax(dim=2) == target for digits, target in data.val_dataloader()]
    return torch.cat(right).float().mean(dim=0)


def _accuracies(axis: Axes) -> None:
    """Makes them fill the panel, and draws the line above which there is more than luck."""
    axis.set_ylim(0, 1.03)
    axis.axhline(GUESSING, color="grey", linewidth=0.8, linestyle=":")
