"""All recipes of the game at equal time: python -m benchmarks.gan_recipes [--root DATA] [--minutes 5] [--seeds 1 2 3]

Each config trains through `twofold fit` for as many batches as take five minutes on this machine, alone on all its
cores, by the time that a short run takes before. One whose rates fall to 0 as its batches end runs as it is shipped,
for they were chosen to take that time. Then both judges look at 10,000 images, beside the 10,000 test images.

The recipes of papers and textbooks are as written down there; only that of configs/gan.yaml was searched for.

Writes into benchmarks/results, as soon as a run has ended; what is there already is not repeated:

- gan_recipes.csv: a row for each config, seed and judge.
- gan_recipes.png: 64 images of each config's first seed, from the same noise.
"""

import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import yaml
from matplotlib import pyplot as plt

from benchmarks.command import ROOT, seconds_after, twofold
from benchmarks.verdicts import verdicts
from callbacks.drawing import grid
from datamodules import MNISTDataModule
from networks.files import load_generator, replacing
from networks.sampling import draw
from networks.seeding import generator, latent_noise
from runtime.errors import OneLineParser, exit_code
from runtime.tables import read_rows, rounded, write_rows
from scripts.figures import panels

RESULTS = ROOT / "benchmarks" / "results"
RUNS = ROOT / "runs" / "gan_recipes"
RECIPES = ("gan", "gan_template", "dcgan", "wgan_gp", "hinge_sn")
TRIED_OUT = 300
"""Batches of the short run that measures a recipe's speed; the first third doesn't count."""
SHOWN = 64


def train(recipe: str, seed: int, minutes: float, data: Sequence[str]) -> dict[str, Any]:
    """One run under RUNS; returns where its generator is, how many batches it took, and how long."""
    config = ROOT / "configs" / f"{recipe}.yaml"
    arguments = ["-c", config, *data, "--seed_everything", seed]
    if not is_timed(config):
        with TemporaryDirectory() as runs:
            twofold(runs, "fit", *arguments, "--trainer.max_steps", TRIED_OUT)
            first, last = (seconds_after(runs)[batch] for batch in (TRIED_OUT // 3, TRIED_OUT))
        steps = round(60 * minutes / (last - first) * (TRIED_OUT - TRIED_OUT // 3))
        arguments += ["--trainer.max_steps", steps]
    runs = str(RUNS / f"{recipe}_{minutes:g}" / str(seed))
    shutil.rmtree(runs, ignore_errors=True)  # what one that was killed has left
    twofold(runs, "fit", *arguments)
    batches, taken = max(seconds_after(runs).items())
    (weights,) = Path(runs).glob("*/*/mnist_generator.pth")
    return {"weights": weights, "batches": batches, "seconds": round(taken)}


def is_timed(config: Path) -> bool:
    """Whether its learning rate falls to 0 with its last batch."""
    settings = yaml.safe_load(config.read_text())
    return "generator_lr_scheduler" in settings["model"]["init_args"]


def draw_samples(weights: Mapping[str, Path], picture: Path) -> None:
    """64 images of each generator side by side, under the name of its recipe."""
    figure, axes = panels(len(weights))
    for axis, (recipe, path) in zip(axes, weights.items(), strict=True):
        network = load_generator(path)
        images = draw(network, latent_noise(network, SHOWN, generator(0, "recipes")))
        axis.imshow(grid(images, per_row=8), cmap="gray")
        axis.set(title=recipe)
        axis.axis("off")
    with replacing(picture) as draft:
        figure.savefig(draft, format="png", dpi=110)
    plt.close(figure)


def main(arguments: Sequence[str] | None = None, results: Path = RESULTS) -> int:
    """Trains and judges what isn't yet, prints and writes the table; returns the exit code."""
    parser = OneLineParser(prog="python -m benchmarks.gan_recipes", description="the recipes of the game at equal time")
    parser.add_argument("--root", default="data", help="the folder that holds MNIST/raw")
    parser.add_argument("--source", default="torchvision", help="packaged tries it out without MNIST")
    parser.add_argument("--minutes", type=float, default=5, help="of training for each run")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--recipes", nargs="+", default=RECIPES, help="configs of the game, without .yaml")
    options = parser.parse_args(arguments)
    data = MNISTDataModule(options.root, options.source)
    data.setup()
    table = results / "gan_recipes.csv"
    rows: list[dict[str, Any]] = list(read_rows(table))
    if any(row["data_source"] != data.data_source for row in rows):
        parser.error(f"{table} is about other digits than {data.data_source}, with which these can't be compared")
    there = {(row["recipe"], float(row["minutes"]), int(row["seed"])) for row in rows}
    settings = ("--data.root", str(Path(options.root).absolute()), "--data.source", options.source)
    for seed in options.seeds:
        for recipe in options.recipes:
            if (recipe, options.minutes, seed) in there:
                continue
            run = train(recipe, seed, options.minutes, settings)
            facts = {"recipe": recipe, "minutes": options.minutes, "seed": seed, "data_source": data.data_source}
            facts |= {"threads": torch.get_num_threads(), "batches": run["batches"]}
            for verdict in verdicts(load_generator(run["weights"]), data):
                rows.append({**facts, "seconds": run["seconds"], **rounded(verdict)})
                print(", ".join(f"{name} {value}" for name, value in rows[-1].items()), flush=True)
            write_rows(table, list(rows[0]), rows)
    recipes = dict.fromkeys((row["recipe"], f"{float(row['minutes']):g}") for row in rows)
    found = {
        f"{recipe}, {minutes} minutes": sorted((RUNS / f"{recipe}_{minutes}").glob("*/*/*/mnist_generator.pth"))
        for recipe, minutes in recipes
    }
    weights = {recipe: paths[0] for recipe, paths in found.items() if paths}
    if len(weights) == len(found):
        draw_samples(weights, results / "gan_recipes.png")
    else:
        print("the picture stays as it is, for not all generators of the table are still there")
    return 0


if __name__ == "__main__":
    sys.exit(exit_code("gan_recipes", main, None))
