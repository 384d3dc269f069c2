"""Figures for pages: drawn from what runs left on disk, returned as `data:` addresses so that a page is one file."""

import base64
import io
from collections.abc import Mapping
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from runtime.tables import read_rows

METRICS = {"train/loss": "cross-entropy", "train/accuracy": "accuracy"}


def panels(number: int, per_row: int | None = None) -> tuple[Figure, list[Axes]]:
    """A figure of empty panels side by side, or so many in a row; close it when it is drawn."""
    columns = min(number, per_row or number)
    rows = -(-number // columns)
    size = (4.5 * columns, 3.2 * rows)
    figure, grid = plt.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False)
    axes = list(grid.flat)
    for axis in axes[:number]:
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    for axis in axes[number:]:
        axis.set_axis_off()
    return figure, axes[:number]


def learning_curves(metrics_files: Mapping[str, Path]) -> str:
    """Loss and accuracy of each batch against batches, side by side, a line for each named `metrics.csv`."""
    figure, axes = panels(2)
    for title, path in metrics_files.items():
        rows = read_rows(path)
        for axis, metric in zip(axes, METRICS, strict=True):
            points = [(int(row["step"]) + 1, float(row[metric])) for row in rows if row[metric]]
            axis.plot(*zip(*points, strict=True), label=title, linewidth=1.6)
    for axis, label in zip(axes, METRICS.values(), strict=True):
        axis.set(xlabel="batches", ylabel=label)
    axes[0].set_yscale("log")
    axes[1].set_ylim(0, 1.03)
    axes[1].axhline(0.1, color="grey", linewidth=0.8, linestyle=":")
    axes[1].annotate("guessing", (0, 0.12), color="grey", fontsize=8)
    axes[0].legend(frameon=False, fontsize=8)
    drawing = io.BytesIO()
    figure.savefig(drawing, format="svg")
    plt.close(figure)
    return _address("svg+xml", drawing.getvalue())


def picture(path: Path) -> str:
    """A PNG file."""
    return _address("png", path.read_bytes())


def _address(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
