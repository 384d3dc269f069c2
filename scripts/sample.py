"""New images from a generator file, as one picture or one by one.

    python -m scripts.sample runs/gan/…/mnist_generator.pth --n 100 --seed 1 --out digits.png
    python -m scripts.sample runs/gan/…/mnist_generator.pth --n 10000 --seed 1 --out digits

The first command draws a grid; the second fills a new folder with 000000.png, 000001.png and so on, of 28 × 28 pixels.
The same seed gives the same bytes, on one machine with one version of torch.
"""

import sys
from argparse import Namespace
from collections.abc import Sequence
from math import ceil, sqrt
from pathlib import Path

import torch

from callbacks.drawing import grid, page, write_numbered, write_png
from common.seeding import latent_noise, rng
from networks.sampling import finite_samples
from scripts.generator_files import MOST_IMAGES, open_generator, refuse_other_seeds, written_to
from twofold.errors import OneLineParser, UsageError, exit_code

MOST_FILES = 1_000_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the images and prints where; returns the exit code, 2 when something the user wrote is wrong."""
    return exit_code("sample", _run, arguments)


def _run(arguments: list[str]) -> int:
    wanted = _parse(arguments)
    trained = open_generator(wanted.generator)
    latents = latent_noise(trained.network, wanted.n, rng(wanted.seed, "sample"))
    batches = finite_samples(trained.network, latents)
    with written_to(wanted.out):
        if wanted.out.suffix:
            picture = grid(torch.cat(list(batches)), per_row=ceil(sqrt(wanted.n)))
            write_png(page([picture], f"seed {wanted.seed}, {trained.origin}"), wanted.out)
        else:
            written = 0
            for images in batches:
                write_numbered(images, wanted.out, first=written)
                written += len(images)
    print(wanted.out)
    return 0


def _parse(arguments: list[str]) -> Namespace:
    parser = OneLineParser(prog="python -m scripts.sample", description=__doc__)
    parser.add_argument("generator", type=Path, help="generator file, such as runs/gan/…/mnist_generator.pth")
    parser.add_argument("--n", type=int, default=64, help="how many images, by default 64")
    parser.add_argument("--seed", type=int, default=1, help="of the noise, by default 1")
    parser.add_argument("--out", type=Path, required=True, help="a .png for a grid, or a new folder")
    wanted = parser.parse_args(arguments)
    if wanted.n < 1:
        raise UsageError(f"--n is {wanted.n}; write 1 or more")
    if wanted.n > MOST_FILES:
        raise UsageError(f"--n is {wanted.n:,}; write {MOST_FILES:,} or less")
    refuse_other_seeds("--seed", [wanted.seed])
    if wanted.out.suffix.lower() not in ("", ".png"):
        raise UsageError(
            f"--out {wanted.out} is neither a .png nor a folder; write a name that ends in .png, or in none"
        )
    if wanted.out.suffix and wanted.n > MOST_IMAGES:
        raise UsageError(
            f"--n is {wanted.n:,}, and a grid holds at most {MOST_IMAGES:,}; write a folder's name for --out"
        )
    if wanted.out.is_dir() and any(wanted.out.iterdir()):
        raise UsageError(f"{wanted.out} is a folder that holds something; write the name of a new one")
    return wanted


if __name__ == "__main__":
    sys.exit(main())
