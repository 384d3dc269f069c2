"""Walks through a generator's noise: what lies between two images, and where in the noise a given digit is.

    walk(waypoints, steps=5)    a ····· b ····· c    from waypoint to waypoint, each included once

A straight line between two vectors from N(0, 1) leads through vectors that are shorter than the generator is used to.
An arc keeps to their length: spherical interpolation is Shoemake 1985, "Animating rotation with quaternion curves", and
White 2016, "Sampling generative networks" (arXiv 1609.04468), recommends it for generators.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from common.seeding import latent_noise
from common.seeding import rng as random_numbers
from networks.sampling import images_from

CANDIDATES = 4096
"""How many latents to look for digits in; a generator that makes all digits makes about 400 of each."""
SURE = 0.9
"""How sure the classifier has to be of a digit that a walk leads through."""
NEARLY_OPPOSITE = 1e-4
"""Radians from opposite directions within which it depends on rounding which way the arc goes."""


class MissingDigitError(ValueError):
    """A generator doesn't make a digit as often as a walk needs it.

    Args:
        finding: what was looked for and found; what to do about it is added, and differs where nothing can be written.
    """

    def __init__(self, finding: str) -> None:
        super().__init__(f"{finding}; write other digits, or another seed, or train for longer")
        self.finding = finding


def lerp(
    start: Float[Tensor, " latent"], end: Float[Tensor, " latent"], t: Float[Tensor, " steps"]
) -> Float[Tensor, "steps latent"]:
    """The points (1 − t)·start + t·end of the straight line."""
    return torch.outer(1 - t, start) + torch.outer(t, end)


def slerp(
    start: Float[Tensor, " latent"], end: Float[Tensor, " latent"], t: Float[Tensor, " steps"]
) -> Float[Tensor, "steps latent"]:
    """The points (sin((1 − t)ω)·start + sin(tω)·end) / sin ω, where ω is the angle between the two.

    Between vectors of the same length all points have that length, and for parallel ones it is the straight line.

    Raises:
        ValueError: when one of the two is zero, or they point in opposite directions, so that no arc is the shortest.
    """
    if not (start.any() and end.any()):
        raise ValueError("a waypoint is the zero vector, which has no direction; write interpolation: lerp")
    a, b = start / start.norm(), end / end.norm()
    omega = 2 * torch.atan2((a - b).norm(), (a + b).norm())  # unlike arccos(a·b) exact for small angles, too
    if torch.pi - omega < NEARLY_OPPOSITE:
        raise ValueError("two neighbouring waypoints point in opposite directions; write interpolation: lerp")
    return torch.outer(_sine_ratio(1 - t, omega), start) + torch.outer(_sine_ratio(t, omega), end)


INTERPOLATIONS = {"lerp": lerp, "slerp": slerp}


def interpolate_latents(
    waypoints: Float[Tensor, "waypoints latent"], steps: int, interpolation: str = "lerp"
) -> Float[Tensor, "frames latent"]:
    """The latents from the first waypoint through all others to the last.

    Args:
        steps: latents on the way from one waypoint to the next, both included; there are (steps − 1)·legs + 1 in all.
        interpolation: lerp or slerp.

    Raises:
        ValueError: when there are fewer than two waypoints or steps, the interpolation is unknown, or there is no such
        arc.
    """
    validate_interpolation(len(waypoints), steps, interpolation)
    t = torch.linspace(0, 1, steps, dtype=torch.float64)
    exact = waypoints.cpu().double()  # not every device knows float64
    legs = [INTERPOLATIONS[interpolation](start, end, t)[1:] for start, end in pairwise(exact)]
    return torch.cat([exact[:1], *legs]).to(waypoints)


def latents_from_seeds(network: nn.Module, seeds: Sequence[int], place: int = 0) -> Float[Tensor, "seeds latent"]:
    """One latent of a generator for each seed, another one at each place."""
    return torch.cat([latent_noise(network, 1, random_numbers(seed, "interpolation", place)) for seed in seeds])


def validate_interpolation(waypoints: int, steps: int, interpolation: str) -> None:
    """Raises ValueError unless `walk` can be taken through so many waypoints."""
    if waypoints < 2:
        raise ValueError(f"a walk through {waypoints} waypoint{'s' * (waypoints != 1)} leads nowhere; write 2 or more")
    if steps < 2:
        raise ValueError(f"steps is {steps}; a way from one waypoint to the next needs at least its 2 ends")
    if interpolation not in INTERPOLATIONS:
        raise ValueError(f"interpolation is '{interpolation}'; write {' or '.join(INTERPOLATIONS)}")


def validate_digits(digits: Sequence[int]) -> None:
    """Raises ValueError unless all are from 0 to 9."""
    others = [digit for digit in digits if not 0 <= digit <= 9]
    if others:
        raise ValueError(f"digits holds {others[0]}; write digits from 0 to 9")


def most_confident_latents(
    generator: nn.Module, classifier: nn.Module, digits: Sequence[int], candidates: Float[Tensor, "candidates latent"]
) -> Float[Tensor, "digits latent"]:
    """For each digit the candidate with the highest confidence; for the same digit again, the next.

    Args:
        generator: in eval mode.
        classifier: in eval mode; takes images in [−1, 1] to ten logits.

    Raises:
        MissingDigitError: when the classifier isn't at least `SURE` about as many images of a digit as are needed.
    """
    validate_digits(digits)
    return most_confident(candidates, log_confidence(generator, classifier, candidates), digits)


def log_confidence(
    generator: nn.Module, classifier: nn.Module, candidates: Float[Tensor, "candidates latent"]
) -> Float[Tensor, "candidates 10"]:
    """The classifier's log-probability of each digit in each candidate's image; both networks in eval mode."""
    with torch.no_grad():
        logits = torch.cat([classifier(images) for images in images_from(generator, candidates)])
    return logits.cpu().double().log_softmax(dim=1)  # logarithms still differ where it is near 100 %


def most_confident(
    candidates: Float[Tensor, "candidates latent"], sureness: Float[Tensor, "candidates 10"], digits: Sequence[int]
) -> Float[Tensor, "digits latent"]:
    """What `most_confident_latents` says of digits from 0 to 9, where the candidates' `sureness` is already known."""
    latents = {}
    for digit, needed in Counter(digits).items():
        ordered, places = sureness[:, digit].sort(descending=True, stable=True)
        good = int((ordered.exp() >= SURE).sum())
        if good < needed:
            raise MissingDigitError(
                f"of {len(candidates):,} images {good or 'none'} can be read as a {digit} with {SURE:.0%} confidence "
                f"or more (the best: {ordered[0].exp():.0%}), and the walk needs {needed}"
            )
        latents[digit] = iter(candidates[places[:needed]])
    return torch.stack([next(latents[digit]) for digit in digits])


def _sine_ratio(t: Float[Tensor, " steps"], omega: Float[Tensor, ""]) -> Float[Tensor, " steps"]:
    """sin(tω) / sin ω for ω in [0, π), which is t at ω = 0."""
    return t * torch.sinc(t * omega / torch.pi) / torch.sinc(omega / torch.pi)
