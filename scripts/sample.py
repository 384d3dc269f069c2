"""Samples images from a generator file, as one picture or one by one.

    python -m scripts.sample runs/gan/…/mnist_generator.pth --n 100 --seed 1 --out digits.png
    python -m scripts.sample runs/gan/…/mnist_generator.pth --n 10000 --seed 1 --out digits

The first command writes a grid; the second fills a new folder with 000000.png, 000001.png and so on, each of the
generator's size. On one machine with one version of torch, the same seed gives the same bytes.
"""

import sys
from collections.abc import Sequence
from math import ceil, sqrt
from pathlib import Path

import torch

from callbacks.drawing import grid, page, write_numbered, write_png
from common.seeding import latent_noise, rng
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
    parser.add_argument("--out", type=Path, required=True, help="a .png for a grid, or a new folder")
    options = parser.parse_args(arguments)
    if options.out.suffix.lower() not in ("", ".png"):
        raise UsageError(f"--out can't be {options.out}; write a name that ends in .png, or a folder's name")
    if options.out.is_dir() and any(options.out.iterdir()):
        raise UsageError(f"--out can't be {options.out}, a folder that isn't empty; write the name of a new one")

    trained = open_generator(options.generator)
    latents = latent_noise(trained.network, options.n, rng(options.seed, "sample"))
    batches = finite_samples(trained.network, latents)
    if options.out.suffix:
        picture = grid(torch.cat(list(batches)), per_row=ceil(sqrt(options.n)))
        write_png(page([picture], f"seed {options.seed}, {trained.origin}"), options.out)
    else:
        for number, images in enumerate(batches):
            write_numbered(images, options.out, first=number * BATCH)
    print(options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
