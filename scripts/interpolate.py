"""Morphs: walks through a generator's noise, from digit to digit or from seed to seed, as a strip or an animation.

    python -m scripts.interpolate runs/gan/…/mnist_generator.pth --digits 3 8 1 --out 381.png
    python -m scripts.interpolate runs/gan/…/mnist_generator.pth --seeds 4 7 9 --interpolation slerp --strips 4 --out
    479.gif

With digits it walks through noise whose images a classifier is surest about. Under each frame stands what the
classifier reads
and how sure it is. An animation goes there and back for ever and rests a moment at each waypoint.
"""

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from callbacks.drawing import along, page, readings, strip, write_animation, write_png
from common.seeding import latent_noise, rng
from metrics.features import load_classifier
from metrics.interpolation import (
    CANDIDATES,
    INTERPOLATIONS,
    class_log_probabilities,
    interpolate_latents,
    latents_from_seeds,
    most_confident_latents,
    validate_digits,
    validate_interpolation,
)
from networks.sampling import finite_samples
from scripts.generator_files import MOST_IMAGES, open_generator, refuse_other_seeds, written_to
from twofold.errors import OneLineParser, UsageError, exit_code

DEFAULT_SEED = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the picture and prints its path; returns the exit code, 2 when something the user wrote is wrong."""
    return exit_code("interpolate", _run, arguments)


def _run(arguments: list[str]) -> int:
    wanted = _parse(arguments)
    trained = open_generator(wanted.generator)
    try:
        classifier = load_classifier()
        if wanted.digits:
            seed = DEFAULT_SEED if wanted.seed is None else wanted.seed
            waypoints = between_digits(trained.network, classifier, wanted.digits, wanted.strips, seed)
            ends = [str(digit) for digit in wanted.digits]
        else:
            waypoints = between_seeds(trained.network, wanted.seeds, wanted.strips)
            ends = [f"seed {seed}" for seed in wanted.seeds]
        walks = [interpolate_latents(route, wanted.frames, wanted.interpolation) for route in waypoints]
    except ValueError as error:
        raise UsageError(str(error)) from error
    strips = torch.stack([torch.cat(list(finite_samples(trained.network, latents))) for latents in walks])
    texts = [readings(classifier, images) for images in strips]
    caption = f"{along(wanted.interpolation, ends)}, {trained.origin}"
    with written_to(wanted.out):
        if wanted.out.suffix.lower() == ".gif":
            write_animation(strips, wanted.out, texts, wanted.frames - 1, caption)
        else:
            pictures = [strip(images, text) for images, text in zip(strips, texts, strict=True)]
            write_png(page(pictures, caption), wanted.out)
    print(wanted.out)
    return 0


def between_digits(
    network: nn.Module, classifier: nn.Module, digits: Sequence[int], strips: int, seed: int
) -> Float[Tensor, "strips digits latent"]:
    """For each strip other latents for the same digits; the first strip has those that the classifier is surest about.

    Raises:
        ValueError: when the generator doesn't make as many of a digit.
    """
    candidates = latent_noise(network, CANDIDATES, rng(seed, "digits to walk between"))
    log_probabilities = class_log_probabilities(network, classifier, candidates)
    return most_confident_latents(candidates, log_probabilities, list(digits) * strips).view(strips, len(digits), -1)


def between_seeds(network: nn.Module, seeds: Sequence[int], strips: int) -> Float[Tensor, "strips seeds latent"]:
    """One latent for each seed, others in each strip."""
    return torch.stack([latents_from_seeds(network, seeds, place) for place in range(strips)])


def _parse(arguments: list[str]) -> Namespace:
    parser = OneLineParser(prog="python -m scripts.interpolate", description=__doc__)
    parser.add_argument("generator", type=Path, help="generator file, such as runs/gan/…/mnist_generator.pth")
    waypoints = parser.add_mutually_exclusive_group(required=True)
    waypoints.add_argument("--digits", nargs="+", type=int, help="from digit to digit, such as 3 8 1")
    waypoints.add_argument("--seeds", nargs="+", type=int, help="from noise to noise, each made from a seed")
    parser.add_argument(
        "--interpolation", choices=list(INTERPOLATIONS), default="lerp", help="a line or an arc, by default linear"
    )
    parser.add_argument(
        "--frames", type=int, default=10, help="from one waypoint to the next, both included, by default 10"
    )
    parser.add_argument("--strips", type=int, default=1, help="how many, through other noise each, by default 1")
    parser.add_argument("--seed", type=int, help=f"of the noise to look for digits in, by default {DEFAULT_SEED}")
    parser.add_argument("--out", type=Path, required=True, help="a .png for strips, a .gif for an animation")
    wanted = parser.parse_args(arguments)
    if wanted.out.suffix.lower() not in (".png", ".gif"):
        raise UsageError(f"--out {wanted.out} names no picture; write a name that ends in .png or .gif")
    if wanted.frames < 2:
        raise UsageError(f"--frames is {wanted.frames}; a way from one waypoint to the next needs at least its 2 ends")
    if wanted.strips < 1:
        raise UsageError(f"--strips is {wanted.strips}; write 1 or more")
    refuse_other_seeds("--seeds", wanted.seeds or ())
    refuse_other_seeds("--seed", () if wanted.seed is None else [wanted.seed])
    if wanted.seeds and wanted.seed is not None:
        raise UsageError("--seeds says where to walk; leave out --seed, which is for --digits")
    ends = wanted.digits or wanted.seeds
    images = wanted.strips * ((len(ends) - 1) * (wanted.frames - 1) + 1)
    if images > MOST_IMAGES:
        raise UsageError(
            f"that makes {images:,} frames; write less of --frames or --strips, {MOST_IMAGES:,} are allowed"
        )
    try:
        validate_digits(wanted.digits or ())
        validate_interpolation(len(ends), wanted.frames, wanted.interpolation)
    except ValueError as error:
        raise UsageError(str(error)) from error
    return wanted


if __name__ == "__main__":
    sys.exit(main())
