"""Samples images from a generator file, as one picture or one by one.

    python -m scripts.sample runs/gan/…/mnist_generator.pth --n 100 --seed 1 --out digits.png
    python -m scripts.sample runs/gan/…/mnist_generator.pth --n 10000 --seed 1 --out digits
    python -m scripts.sample runs/gan_conditional/…/mnist_generator.pth --class 7 --out sevens.png

The first command writes a grid; the second fills a new folder with 000000.png, 000001.png and so on, each of the
generator's size. A class-conditional generator makes all classes in turn, or those of `--class`; in a grid each starts
a row. On one machine with one version of torch, the same seed gives the same bytes.
"""

import sys
from collections.abc import Sequence
from math import ceil, sqrt
from pathlib import Path

import torch

from callbacks.drawing import class_rows, grid, page, write_numbered, write_png
from common.seeding import latent_noise, rng
from networks.conditional import classes_of, labels_in_turn
from networks.sampling import BATCH, finite_samples
from scripts.arguments import seed, whole_number
from scripts.generator_files import open_generator
from twofold.errors import OneLineParser, UsageError, exit_code


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the images and prints where; returns the exit code, 2 for a mistake in the arguments."""
    return exit_code("sample", _run, arguments)


def _run(arguments: list[str]) -> int:
    parser = OneLineParser(prog="python -m scripts.sample", description=__doc__)
    parser.add_argument("generator", type=Path, help="generator file, such as runs/gan/…/mnist_generator.pth")
    parser.add_argument("--n", type=whole_number(1), default=64, help="number of images, by default 64")
    parser.add_argument("--seed", type=seed, default=1, help="seed of the noise, by default 1")
    about_class = "names or numbers of classes that take turns, by default all of a class-conditional generator"
    parser.add_argument("--class", dest="classes", nargs="+", default=[], metavar="CLASS", help=about_class)
    parser.add_argument("--out", type=Path, required=True, help="a .png for a grid, or a new folder")
    options = parser.parse_args(arguments)
    if options.out.suffix.lower() not in ("", ".png"):
        raise UsageError(f"--out can't be {options.out}; write a name that ends in .png, or a folder's name")
    if options.out.is_dir() and any(options.out.iterdir()):
        raise UsageError(f"--out can't be {options.out}, a folder that isn't empty; write the name of a new one")

    trained = open_generator(options.generator)
    latents = latent_noise(trained.network, options.n, rng(options.seed, "sample"))
    labels = labels_in_turn(trained.network, options.n, trained.class_numbers(options.classes))
    batches = finite_samples(trained.network, latents, *labels)
    if options.out.suffix:
        images, turns = torch.cat(list(batches)), len(options.classes) or classes_of(trained.network)
        cells = class_rows(images, turns) if turns > 1 else (images, ceil(sqrt(options.n)))
        of_class = f"class {', '.join(options.classes)}, " if options.classes else ""
        write_png(page([grid(*cells)], f"{of_class}seed {options.seed}, {trained.origin}"), options.out)
    else:
        for number, images in enumerate(batches):
            write_numbered(images, options.out, first=number * BATCH)
    print(options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
