"""Figures of the GAN lesson: two runs side by side, and interpolation by the better generator."""

import json
from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from matplotlib.ticker import MaxNLocator

from callbacks.generators import REPORT_FILE
from callbacks.interpolation_strip import GENERATOR_FILE, STRIP_FILE
from metrics.mode_coverage import class_range
from scripts import interpolate
from scripts.plotting import panels, svg
from scripts.reporting.page import Figure, Picture, Table, picture_of
from scripts.reporting.runs import DIGITS, TrainedRun, data_names, grid_steps

MOST_POINTS = 300
"""Points of a loss curve; each is the mean of neighbouring batches."""


def grids(runs: Sequence[TrainedRun]) -> Figure:
    """64 images from the same noise at several batches; runs side by side."""
    steps = [grid_steps(run.run.step) for run in runs]
    pictures = []
    for at_once in zip(*steps, strict=True):
        for run, step in zip(runs, at_once, strict=True):
            alt = f"64 images: {run.job.title}, {step:,} batches"
            content = (run.path / "images" / f"step_{step:06d}.png").read_bytes()
            pictures.append(Picture(f"grid_{run.job.name}_{step:06d}.png", content, alt, run.job.title))
    return Figure(pictures, per_row=len(runs))


def learning(runs: Sequence[TrainedRun]) -> Figure:
    """Losses of both networks, FID during training and modes covered, against batches."""
    figure, axes = panels(len(runs) + 2, per_row=2)
    *losses, fid, modes = axes
    for number, (run, axis) in enumerate(zip(runs, losses, strict=True)):
        for network, metric in (("discriminator", "train/d_loss"), ("generator", "train/g_loss")):
            axis.plot(*averaged(*run.points(metric)), linewidth=1, label=network)
        axis.set(title=run.job.title, xlabel="batches", ylabel="loss")
        for panel, metric in ((fid, "quality/fid"), (modes, "quality/modes_covered")):
            panel.plot(*run.points(metric), color=f"C{number + 2}", marker=".", label=run.job.title)
    real = runs[0].points("quality/fid_real")[1][-1]
    fid.axhline(real, color="grey", linewidth=0.8, linestyle=":", label="real data")
    fid.set(xlabel="batches", ylabel="FID during training", yscale="log")
    modes.set(xlabel="batches", ylabel="modes covered", ylim=(-0.3, 10.3))
    for axis in axes:
        axis.legend(frameon=False, fontsize=8)
        axis.xaxis.set_major_locator(MaxNLocator(5))
        axis.xaxis.set_major_formatter("{x:,.0f}")
    samples = runs[0].points("quality/fid_samples")[1][-1]
    note = f"FID during training: {samples:,.0f} samples against all training images of {data_names(runs)}."
    return Figure([Picture("learning.svg", svg(figure), "Losses, FID and modes covered of both runs")], notes=[note])


def averaged(batches: Sequence[int], values: Sequence[float]) -> tuple[list[float], list[float]]:
    """Means of neighbouring points, so that at most `MOST_POINTS` remain."""
    size = -(-len(values) // MOST_POINTS) or 1
    groups = range(0, len(values), size)
    return [mean(batches[n : n + size]) for n in groups], [mean(values[n : n + size]) for n in groups]


COLUMNS = {
    "FID": ("fid", "fid_real", "{:.1f}"),
    "KID": ("kid", "kid_real", "{:.2f}"),
    "precision": ("precision", "precision_real", "{:.2f}"),
    "recall": ("recall", "recall_real", "{:.2f}"),
    "modes covered": ("modes_covered", "modes_covered_real", "{:.0f}"),
    "nearest-neighbour distance": ("nearest_neighbour_distance", "real_nearest_neighbour_distance", "{:.1f}"),
}
"""Columns of the table of last evaluations: key in `quality.json`, key of the number for real images, and format."""


def quality(runs: Sequence[TrainedRun]) -> Figure:
    """The last evaluation of each generator, and of training images, against the held-out images."""
    rows, remarks = [], []
    for run in runs:
        evaluations = json.loads((run.path / REPORT_FILE).read_text(encoding="utf-8"))
        for weights, name in (("raw", ""), ("ema", ", moving average")):
            if numbers := evaluations.get(weights):
                rows.append([f"{run.job.title}{name}", *_cells(numbers)])
                real, samples = _cells(numbers, of_real=True), numbers["fid_samples"]
        remarks += [evaluations["remark"]] if "remark" in evaluations else []
    title = f"{samples:,.0f} samples against the held-out images of {data_names(runs)}"
    table = Table(("images", *COLUMNS, "smallest to largest class"), [*rows, ["real", *real]], title)
    return Figure(tables=[table], notes=list(dict.fromkeys(remarks)))


def _cells(numbers: Mapping[str, Any], of_real: bool = False) -> list[str]:
    values = [(numbers.get(real if of_real else generated), how) for generated, real, how in COLUMNS.values()]
    low, high = class_range(numbers, "_real" if of_real else "")
    return [*("–" if value is None else how.format(value) for value, how in values), f"{low:.0%} to {high:.0%}"]


def morphs(run: TrainedRun) -> Figure:
    """The interpolation strip of the run, and an animation of four more."""
    alt = f"Generated images that interpolate between {', '.join(map(str, DIGITS))}"
    strip = Picture("strip.png", (run.path / STRIP_FILE).read_bytes(), alt)
    generator = run.path / GENERATOR_FILE
    for waypoints in ("--digits", "--seeds"):  # a generator may not make all three digits
        arguments = (generator, waypoints, *DIGITS, "--strips", 4, "--frames", 12)
        try:
            return Figure([strip, picture_of(interpolate.main, arguments, "morph.gif", alt)])
        except RuntimeError as error:
            reason = error
    raise reason
