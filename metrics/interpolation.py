"""Latent interpolation, and the latents whose images show a given digit.

    interpolate_latents(waypoints, steps=5)    a · · · b · · · c    a latent at each waypoint and three in between

Linear interpolation between two vectors from N(0, 1) passes through vectors that are shorter than those the generator
was trained on. Spherical interpolation (Shoemake 1985, "Animating rotation with quaternion curves") keeps the length;
White 2016, "Sampling generative networks" (arXiv 1609.04468), recommends it for generators.

A waypoint of a class-conditional generator also has a class. From class to class the weights of the two classes are
interpolated linearly, and with them the gains and biases of BatchNorm (see `networks.conditional`).
"""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from common.seeding import latent_noise, rng
from metrics.features import check_input_shape
from networks.sampling import finite_samples

CANDIDATES = 4096
"""How many latents to search for digits; if all digits are equally frequent, each has about 400."""
MIN_CONFIDENCE = 0.9
"""The lowest class probability of a waypoint's image."""
NEARLY_OPPOSITE = 1e-4
"""Radians from opposite directions, below which rounding would choose the arc."""


def lerp(
    start: Float[Tensor, " latent"], end: Float[Tensor, " latent"], t: Float[Tensor, " steps"]
) -> Float[Tensor, "steps latent"]:
    """Linear interpolation: (1 − t)·start + t·end."""
    return torch.outer(1 - t, start) + torch.outer(t, end)


def slerp(
    start: Float[Tensor, " latent"], end: Float[Tensor, " latent"], t: Float[Tensor, " steps"]
) -> Float[Tensor, "steps latent"]:
    """Spherical interpolation: (sin((1 − t)ω)·start + sin(tω)·end) / sin ω, with ω the angle between the two.

    Between vectors of one length all points have that length. For parallel vectors it equals linear interpolation.

    Raises:
        ValueError: when a vector is zero or the two are opposite, so that there is no shortest arc.
    """
    if not (start.any() and end.any()):
        raise ValueError("a waypoint is the zero vector, which has no direction; write interpolation: lerp")
    a, b = start / start.norm(), end / end.norm()
    omega = 2 * torch.atan2((a - b).norm(), (a + b).norm())  # unlike arccos(a·b), exact for small angles
    if torch.pi - omega < NEARLY_OPPOSITE:
        raise ValueError("two neighbouring waypoints point in opposite directions; write interpolation: lerp")
    return torch.outer(_sine_ratio(1 - t, omega), start) + torch.outer(_sine_ratio(t, omega), end)


INTERPOLATIONS = {"lerp": lerp, "slerp": slerp}


def interpolate_latents(
    waypoints: Float[Tensor, "waypoints latent"], steps: int, interpolation: str = "lerp"
) -> Float[Tensor, "frames latent"]:
    """Returns the latents from the first waypoint through all others to the last.

    Args:
        steps: latents from one waypoint to the next, both included, so there are (steps − 1)·(waypoints − 1) + 1.
        interpolation: lerp or slerp.

    Raises:
        ValueError: when there are fewer than two waypoints or steps, the interpolation is unknown, or slerp isn't
            defined for the waypoints.
    """
    validate_interpolation(len(waypoints), steps, interpolation)
    t = torch.linspace(0, 1, steps, dtype=torch.float64)
    exact = waypoints.cpu().double()  # on the CPU, because MPS has no float64
    segments = [INTERPOLATIONS[interpolation](start, end, t)[1:] for start, end in pairwise(exact)]
    return torch.cat([exact[:1], *segments]).to(waypoints)


def interpolate_inputs(waypoints: Sequence[Tensor], steps: int, interpolation: str = "lerp") -> tuple[Tensor, ...]:
    """Returns the inputs of a generator from waypoint to waypoint; arguments and errors as `interpolate_latents`.

    Args:
        waypoints: their latents, and for a class-conditional generator the class weights `(waypoints, classes)`, which
            are interpolated by lerp.
    """
    kinds = (interpolation, "lerp")
    return tuple(interpolate_latents(each, steps, kind) for each, kind in zip(waypoints, kinds, strict=False))


def validate_interpolation(waypoints: int, steps: int, interpolation: str) -> None:
    """Raises ValueError unless `interpolate_latents` takes so many waypoints and these arguments."""
    if waypoints < 2:
        raise ValueError(f"an interpolation needs 2 or more waypoints, not {waypoints}")
    if steps < 2:
        raise ValueError(f"steps is {steps}; write 2 or more, the number of images from one waypoint to the next")
    if interpolation not in INTERPOLATIONS:
        raise ValueError(f"interpolation is '{interpolation}'; write {' or '.join(INTERPOLATIONS)}")


def validate_digits(digits: Sequence[int], classes: int = 10) -> None:
    """Raises ValueError unless all are numbers of classes."""
    others = [digit for digit in digits if not 0 <= digit < classes]
    if others:
        raise ValueError(f"digits holds {others[0]}; write digits from 0 to {classes - 1}")


def most_confident_latents(
    candidates: Float[Tensor, "candidates latent"],
    log_probabilities: Float[Tensor, "candidates 10"],
    digits: Sequence[int],
) -> Float[Tensor, "digits latent"]:
    """For each digit, returns the candidate with the highest probability of it; for a repeated digit, the next one.

    Args:
        log_probabilities: of the candidates, see `class_log_probabilities`.

    Raises:
        ValueError: when too few candidates have a probability of `MIN_CONFIDENCE` for a digit.
    """
    validate_digits(digits)
    latents = {}
    for digit, needed in Counter(digits).items():
        ordered, places = log_probabilities[:, digit].sort(descending=True, stable=True)
        found = int((ordered.exp() >= MIN_CONFIDENCE).sum())
        if found < needed:
            raise ValueError(
                f"the classifier reads {found or 'none'} of {len(candidates):,} images as a {digit} with a confidence "
                f"of {MIN_CONFIDENCE:.0%} or more (the highest is {ordered[0].exp():.0%}), and {needed} are needed; "
                "choose other digits or another seed, or train for longer"
            )
        latents[digit] = iter(candidates[places[:needed]])
    return torch.stack([next(latents[digit]) for digit in digits])


def digit_candidates(
    generator: nn.Module, classifier: nn.Module | None, seed: int
) -> tuple[Float[Tensor, "candidates latent"], Float[Tensor, "candidates 10"]]:
    """Draws `CANDIDATES` latents; returns them with their `class_log_probabilities`, for `most_confident_latents`.

    Raises:
        ValueError: when there is no classifier, or as `class_log_probabilities` does.
    """
    if classifier is None:
        raise ValueError("the classifiers know MNIST's digits, not these images; interpolate between seeds instead")
    latents = latent_noise(generator, CANDIDATES, rng(seed, "digits to walk between"))
    return latents, class_log_probabilities(generator, classifier, latents)


def class_log_probabilities(
    generator: nn.Module, classifier: nn.Module, latents: Float[Tensor, "n latent"]
) -> Float[Tensor, "n 10"]:
    """Returns the classifier's log-probabilities for the latents' images, in float64; both networks in eval mode.

    Logarithms, because they still differ where the probabilities round to 1.

    Raises:
        ValueError: when the images aren't of the shape that the classifier takes.
    """
    batches = []
    with torch.no_grad():
        for images in finite_samples(generator, latents):
            check_input_shape(classifier, images.shape[1:])
            batches.append(classifier(images))
    return torch.cat(batches).cpu().double().log_softmax(dim=1)


def _sine_ratio(t: Float[Tensor, " steps"], omega: Float[Tensor, ""]) -> Float[Tensor, " steps"]:
    """sin(tω) / sin ω for ω in [0, π), which is t at ω = 0."""
    return t * torch.sinc(t * omega / torch.pi) / torch.sinc(omega / torch.pi)
