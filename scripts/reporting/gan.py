"""Figures of the second lesson: how two games went, side by side, and where their generators end."""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory

import torch
from jaxtyping import Float
from matplotlib.ticker import MaxNLocator
from PIL import Image
from torch import Tensor

from callbacks.drawing import CAPTION_HEIGHT, IN_WORDS, along, few_shades, page, readings, strip, write_animation
from callbacks.generative_metrics import REPORT_FILE
from callbacks.interpolation_strip import GENERATOR_FILE
from metrics.features import load_classifier
from metrics.interpolation import interpolate_latents
from metrics.mode_coverage import DIGITS
from networks.sampling import finite_samples
from scripts.generator_files import open_generator
from scripts.interpolate import DEFAULT_SEED, between_digits, between_seeds
from scripts.plotting import panels, svg
from scripts.reporting.drawn import Drawn, Picture, Table
from scripts.reporting.memory import points
from scripts.reporting.scale import STRIP
from scripts.trained_jobs import FinishedRun
from twofold.errors import UsageError

POINTS_OF_LOSSES = 300
DOTS = 50
"""On a line of evaluations, at most."""
STRIP_FRAMES, ANIMATION_FRAMES = 8, 12
ANIMATED = 4


def grids(runs: Sequence[FinishedRun], moments: Sequence[Sequence[int]]) -> Drawn:
    """64 images from the same noise at each of a run's moments; runs side by side, moment by moment."""
    drawn = []
    for at_once in zip(*moments, strict=True):
        for run, step in zip(runs, at_once, strict=True):
            content = without_caption(run.run.path / "images" / f"step_{step:06d}.png")
            caption = f"{run.job.title}, {step:,} batches"
            name = f"grid_{run.job.config}_{step:06d}.png"
            drawn.append(Picture(name, content, f"64 images of the {caption}", caption))
    return Drawn(drawn, per_row=len(runs))


def without_caption(path: Path) -> bytes:
    """A grid without the caption under it, in few shades, so that the page stays small.

    Raises:
        UsageError: when it isn't there.
    """
    if not path.exists():
        raise UsageError(f"{path} is missing; move the run's folder away, and the report trains it anew")
    content = io.BytesIO()
    with Image.open(path) as picture:
        alone = picture.crop((0, 0, picture.width, picture.height - CAPTION_HEIGHT))
        few_shades(alone).save(content, format="PNG", optimize=True)
    return content.getvalue()


def learning(runs: Sequence[FinishedRun]) -> Drawn:
    """Losses of both networks, FID in training and digits alive, against batches."""
    source = common_source(runs)
    figure, axes = panels(len(runs) + 2, per_row=2)
    *losses, fid, alive = axes
    for number, (run, axis) in enumerate(zip(runs, losses, strict=True)):
        for network, metric in (("discriminator", "train/d_loss"), ("generator", "train/g_loss")):
            axis.plot(*averaged(*points(run, metric)), linewidth=1, label=network)
        axis.set(title=run.job.title, xlabel="batches", ylabel="loss")
        axis.legend(frameon=False, fontsize=8)
        for panel, metric in ((fid, "quality/fid"), (alive, "quality/modes_covered")):
            batches, values = points(run, metric)
            every = -(-len(values) // DOTS) or 1
            panel.plot(batches, values, color=f"C{number + 2}", marker=".", markevery=every, label=run.job.title)
    floor = points(runs[0], "quality/fid_real")[1][-1]
    fid.axhline(floor, color="grey", linewidth=0.8, linestyle=":", label="as many real images")
    fid.set(xlabel="batches", ylabel="FID in training", yscale="log")
    alive.set(xlabel="batches", ylabel="digits alive", ylim=(-0.3, DIGITS + 0.3))
    for axis in (fid, alive):
        axis.legend(frameon=False, fontsize=8)
    for axis in axes:
        axis.xaxis.set_major_locator(MaxNLocator(5))
        axis.xaxis.set_major_formatter("{x:,.0f}")
    samples = int(points(runs[0], "quality/fid_samples")[1][-1])
    note = f"FID in training: {samples:,} samples against all training images of {source}."
    return Drawn([Picture("learning.svg", svg(figure), "Losses, FID and digits alive of both games")], notes=[note])


def averaged(batches: Sequence[int], values: Sequence[float]) -> tuple[list[float], list[float]]:
    """Means of neighbouring points, so that there are at most `POINTS_OF_LOSSES`."""
    together = -(-len(values) // POINTS_OF_LOSSES) or 1
    groups = range(0, len(values), together)
    return [mean(batches[n : n + together]) for n in groups], [mean(values[n : n + together]) for n in groups]


COLUMNS = {
    "FID": ("fid", "{:.1f}"),
    "FID of real images": ("fid_real", "{:.1f}"),
    "KID": ("kid", "{:.2f}"),
    "precision": ("precision", "{:.2f}"),
    "recall": ("recall", "{:.2f}"),
    "digits alive": ("modes_covered", "{:.0f}"),
    "nearest training image": ("nearest_neighbour_distance", "{:.1f}"),
    "… of real images": ("real_nearest_neighbour_distance", "{:.1f}"),
}
"""Of the table of last evaluations: what stands in `quality.json`, and how it is written."""


def quality(runs: Sequence[FinishedRun]) -> Drawn:
    """What the classifier says of each generator at the end, compared with the test images."""
    source = common_source(runs)
    rows, remarks, samples = [], [], []
    for run in runs:
        measured = json.loads((run.run.path / REPORT_FILE).read_text())
        for weights, name in (("raw", ""), ("ema", ", moving average")):
            if numbers := measured.get(weights):
                cells = [_written(numbers[key], how) for key, how in COLUMNS.values()]
                rows.append([f"{run.job.title}{name}", *cells])
                samples.append(f"{int(numbers['fid_samples']):,}")
        remarks += [measured["remark"]] if "remark" in measured else []
    title = f"{' or '.join(dict.fromkeys(samples))} samples against the test images of {source}"
    return Drawn(tables=[Table(("generator", *COLUMNS), rows, title=title)], notes=list(dict.fromkeys(remarks)))


def _written(number: float | None, how: str) -> str:
    return "none" if number is None else how.format(number)


def common_source(runs: Sequence[FinishedRun]) -> str:
    """What all were trained on, in words.

    Raises:
        UsageError: when that differs, for then their numbers can't stand side by side.
    """
    sources = {str(run.data_source): run for run in runs}
    if len(sources) > 1:
        told = " and ".join(f"{run.run.path} on {IN_WORDS.get(source, source)}" for source, run in sources.items())
        raise UsageError(f"games on different digits can't be compared: {told}; move one away to train it anew")
    (source,) = sources
    return IN_WORDS.get(source, source)


def morphs(run: FinishedRun) -> Drawn:
    """A walk from digit to digit as a strip, and several as an animation."""
    trained = open_generator(run.run.path / GENERATOR_FILE)
    classifier = load_classifier()

    def frames(strips: int, steps: int) -> tuple[Float[Tensor, "strips frames 1 28 28"], list[str]]:
        """Images on the way, and what the ends are."""
        try:
            routes = between_digits(trained.network, classifier, STRIP, strips, DEFAULT_SEED)
            ends = [str(digit) for digit in STRIP]
        except ValueError as error:
            notes.append(f"The waypoints are arbitrary noise: {error}.")
            routes = between_seeds(trained.network, STRIP, strips)
            ends = [f"seed {seed}" for seed in STRIP]
        walks = [interpolate_latents(route, steps) for route in routes]
        return torch.stack([torch.cat(list(finite_samples(trained.network, latents))) for latents in walks]), ends

    notes: list[str] = []
    (images,), ends = frames(1, STRIP_FRAMES)
    caption = f"{along('lerp', ends)}, {trained.origin}"
    still = io.BytesIO()
    page([strip(images, readings(classifier, images))], caption).convert("L").save(still, format="PNG", optimize=True)
    moving, ends = frames(ANIMATED, ANIMATION_FRAMES)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "morph.gif"
        write_animation(
            moving, path, [readings(classifier, walked) for walked in moving], ANIMATION_FRAMES - 1, trained.origin
        )
        animation = path.read_bytes()
    way = along("lerp", ends)
    return Drawn(
        [
            Picture("strip.png", still.getvalue(), f"Generated images on the way from {way}", "the way as a strip"),
            Picture("morph.gif", animation, f"Generated images that morph from {way} and back", "four ways, moving"),
        ],
        notes=list(dict.fromkeys(notes))[:1],
    )
