"""Interpolates between the latents of a generator, from digit to digit or from seed to seed, as strips or an animation.

    python -m scripts.interpolate runs/gan/…/mnist_generator.pth --digits 3 8 1 --out 381.png
    python -m scripts.interpolate runs/gan/…/mnist_generator.pth --seeds 4 7 9 --interpolation slerp --out 479.gif
    python -m scripts.interpolate runs/gan_conditional/…/mnist_generator.pth --seeds 4 7 9 --class 3 --out threes.png

For a digit it takes the latent, out of `metrics.interpolation.CANDIDATES` random ones, whose image the classifier is
most confident about. A class-conditional generator is given the digits as classes, and one latent for a whole strip.
Between seeds each strip stays in a class, the first strip in the first, or the waypoints have the classes of `--class`.
From class to class the gains and biases of its BatchNorm are interpolated linearly.

Under each frame stands the classifier's prediction and its confidence, unless the generator was trained on another
dataset than MNIST. An animation runs there and back in a loop and pauses at each waypoint.
"""

import string
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from callbacks.drawing import interpolation_title, page, predictions, strip, write_animation, write_png
from common.seeding import latent_noise, rng
from metrics.features import classifier_of
from metrics.interpolation import (
    INTERPOLATIONS,
    digit_candidates,
    interpolate_inputs,
    most_confident_latents,
)
from networks.conditional import class_weights, classes_of
from networks.sampling import finite_samples
from scripts.arguments import file_name, seed, whole_number
from scripts.generator_files import open_generator
from twofold.errors import OneLineParser, UsageError, exit_code

Waypoints = tuple[Tensor, ...]
"""Latents `(waypoints, latent)` and, for a class-conditional generator, class weights `(waypoints, classes)`."""

DEFAULT_SEED = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the picture and prints its path; returns the exit code, 2 for a mistake in the arguments."""
    return exit_code("interpolate", _run, arguments)


def _run(arguments: list[str]) -> int:
    parser = OneLineParser(prog="python -m scripts.interpolate", description=__doc__)
    parser.add_argument("generator", type=Path, help="generator file, such as runs/gan/…/mnist_generator.pth")
    between = parser.add_mutually_exclusive_group(required=True)
    about_digits = "from digit to digit, such as 3 8 1; for a class-conditional generator names or numbers of classes"
    between.add_argument("--digits", nargs="+", metavar="DIGIT", help=about_digits)
    between.add_argument("--seeds", nargs="+", type=seed, help="from latent to latent, each drawn from a seed")
    about_class = "names or numbers, of the seeds in turn, or one for all; for a class-conditional generator"
    parser.add_argument("--class", dest="classes", nargs="+", default=[], metavar="CLASS", help=about_class)
    parser.add_argument("--interpolation", choices=[*INTERPOLATIONS], default="lerp", help="by default lerp")
    frames = "per pair of waypoints, both included, by default 10"
    parser.add_argument("--frames", type=whole_number(2), default=10, help=frames)
    parser.add_argument("--strips", type=whole_number(1), default=1, help="number of strips, by default 1")
    about_seed = f"of the candidates or the latents for --digits, by default {DEFAULT_SEED}"
    parser.add_argument("--seed", type=seed, default=DEFAULT_SEED, help=about_seed)
    out = file_name(".png", ".gif")
    parser.add_argument("--out", type=out, required=True, help="a .png for strips, a .gif for an animation")
    options = parser.parse_args(arguments)
    if options.digits and options.classes:
        raise UsageError("--class goes with --seeds; write the classes as --digits, or seeds")
    if options.seeds and len(options.classes) > len(options.seeds):
        raise UsageError(f"--class holds {len(options.classes)} classes for {len(options.seeds)} seeds; write fewer")

    trained = open_generator(options.generator)
    classifier = classifier_of(trained.metadata["data_source"])
    try:
        if options.digits:
            digits, ends = trained.class_numbers(options.digits, string.digits), options.digits
            waypoints = between_digits(trained.network, classifier, digits, options.strips, options.seed)
        else:
            waypoints = between_seeds(
                trained.network, options.seeds, options.strips, trained.class_numbers(options.classes)
            )
            ends = seed_titles(options.seeds, options.classes)
        paths = [interpolate_inputs(each, options.frames, options.interpolation) for each in waypoints]
    except ValueError as error:
        raise UsageError(str(error)) from error
    strips = torch.stack([torch.cat(list(finite_samples(trained.network, *inputs))) for inputs in paths])
    texts = [predictions(classifier, images) for images in strips]
    caption = f"{interpolation_title(options.interpolation, ends)}, {trained.origin}"
    if options.out.suffix.lower() == ".gif":
        write_animation(strips, options.out, texts, options.frames - 1, caption)
    else:
        pictures = [strip(images, text) for images, text in zip(strips, texts, strict=True)]
        write_png(page(pictures, caption), options.out)
    print(options.out)
    return 0


def between_digits(
    network: nn.Module, classifier: nn.Module | None, digits: Sequence[int], strips: int, seed: int
) -> list[Waypoints]:
    """One latent for each digit, others in each strip; the first strip has the most confident ones.

    Of a class-conditional generator all waypoints of a strip have one latent, and the digits are their classes.

    Raises:
        ValueError: when the generator doesn't make a digit often enough, there is no classifier of its images, or it
            doesn't have a class.
    """
    if classes_of(network):
        weights = class_weights(network, len(digits), digits)
        return [
            (z.expand(len(digits), -1), *weights) for z in latent_noise(network, strips, rng(seed, "class to class"))
        ]
    candidates = digit_candidates(network, classifier, seed)
    latents = most_confident_latents(*candidates, list(digits) * strips)
    return [(each,) for each in latents.split(len(digits))]


def between_seeds(
    network: nn.Module, seeds: Sequence[int], strips: int, classes: Sequence[int] = ()
) -> list[Waypoints]:
    """One latent for each seed, others in each strip.

    Args:
        network: the generator.
        seeds: of the waypoints.
        strips: number of strips.
        classes: of the seeds in turn; by default a class-conditional generator has another class in each strip.

    Raises:
        ValueError: when the generator doesn't have a class.
    """
    number, waypoints = classes_of(network), []
    for place in range(strips):
        latents = torch.cat([latent_noise(network, 1, rng(n, "interpolation", place)) for n in seeds])
        turns = classes or ([place % number] if number else [])
        waypoints.append((latents, *class_weights(network, len(seeds), turns)))
    return waypoints


def seed_titles(seeds: Sequence[int], classes: Sequence[int | str]) -> list[str]:
    """What a strip's caption says of its waypoints, such as "seed 4" or, with classes, "seed 4 as 7"."""
    return [f"seed {n} as {classes[k % len(classes)]}" if classes else f"seed {n}" for k, n in enumerate(seeds)]


if __name__ == "__main__":
    sys.exit(main())
