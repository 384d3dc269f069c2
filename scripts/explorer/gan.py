"""What the page shows of a generator: a point on the way between two images, a strip of the way, random samples.

Everything is a function of what the fields hold; nobody's choices are remembered, so nobody can get another's picture.
Where in the noise a generator has its digits is looked up once, which takes some seconds.
"""

import re
import threading
from functools import lru_cache
from html import escape
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from callbacks.drawing import along, grid, page, readings, shades, strip
from common.seeding import HIGHEST_SEED, latent_noise, rng
from metrics.features import Classifier, load_classifier
from metrics.interpolation import (
    CANDIDATES,
    INTERPOLATIONS,
    class_log_probabilities,
    interpolate_latents,
    most_confident_latents,
)
from networks.sampling import finite_samples
from scripts.explorer import html, inputs
from scripts.explorer.model_index import Shelf
from scripts.generator_files import GeneratorFile
from scripts.interpolate import DEFAULT_SEED, between_seeds
from twofold.errors import UsageError

ENDS = {"digits": ("digit", 9), "seeds": ("seed", HIGHEST_SEED)}
"""What a way can lead from and to, the word for one, and the highest there is."""
STRIP_FRAMES = 15
SAMPLES, SAMPLES_PER_ROW = 64, 8


class Way(NamedTuple):
    """From one point in a generator's noise to another."""

    trained: GeneratorFile
    waypoints: Float[Tensor, "2 latent"]
    path: str
    ends: tuple[str, str]

    @property
    def title(self) -> str:
        return along(self.path, self.ends)


class Game:
    """Answers of the page's first tab, each as HTML.

    Args:
        shelf: where the generators are.
    """

    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf
        self.classifier = load_classifier()

    def frame(self, name: object, kind: object, start: object, end: object, path: object, t: object) -> str:
        """The image at the share `t` of the way, and what the classifier reads in it."""
        way = self._way(name, kind, start, end, path)
        latent = _at(way, inputs.share(t, "place on the way"))
        image = torch.cat([*finite_samples(way.trained.network, latent)])
        with torch.no_grad():
            probabilities = self.classifier(image).softmax(dim=1)[0].tolist()
        (reading,) = readings(self.classifier, image)
        picture = html.image(html.png(next(shades(image))), f"an image that the classifier reads as {reading}", "digit")
        caption = escape(f"{name}: {way.trained.origin}")
        return (
            f'<div class="frame"><figure>{picture}<figcaption>{caption}</figcaption></figure>'
            f"<div><h3>The classifier reads</h3>{html.bars(probabilities)}</div></div>"
        )

    def strip(self, name: object, kind: object, start: object, end: object, path: object) -> str:
        """The whole way as a strip, to look at and to download; `scripts.interpolate` draws the same."""
        way = self._way(name, kind, start, end, path)
        frames = torch.cat(
            [*finite_samples(way.trained.network, interpolate_latents(way.waypoints, STRIP_FRAMES, way.path))]
        )
        picture = page([strip(frames, readings(self.classifier, frames))], f"{way.title}, {way.trained.origin}")
        file_name = re.sub(r"\W+", "_", f"{way.ends[0]} to {way.ends[1]} {way.path}") + ".png"
        return _downloadable(html.png(picture), way.title, file_name)

    def samples(self, name: object, seed: object) -> str:
        """Random samples, under each what the classifier reads, to look at and to download."""
        number = inputs.whole_number(seed, "seed", 0, HIGHEST_SEED)
        trained = self.shelf.generator(name)
        latents = latent_noise(trained.network, SAMPLES, rng(number, "sample"))
        images = torch.cat([*finite_samples(trained.network, latents)])
        picture = page(
            [grid(images, SAMPLES_PER_ROW, readings(self.classifier, images))], f"seed {number}, {trained.origin}"
        )
        return _downloadable(html.png(picture), f"{SAMPLES} samples from seed {number}", f"samples_seed_{number}.png")

    def _way(self, name: object, kind: object, start: object, end: object, path: object) -> Way:
        path, kind = inputs.one_of(path, "path", INTERPOLATIONS), inputs.one_of(kind, "between", ENDS)
        word, highest = ENDS[kind]
        ends = [
            inputs.whole_number(value, f"{side} {word}", 0, highest)
            for side, value in (("first", start), ("second", end))
        ]
        trained = self.shelf.generator(name)
        if kind == "seeds":
            (waypoints,) = between_seeds(trained.network, ends, 1)
            return Way(trained, waypoints, path, (f"seed {ends[0]}", f"seed {ends[1]}"))
        waypoints = _between_digits(trained.network, self.classifier, (ends[0], ends[1]))
        return Way(trained, waypoints, path, (str(ends[0]), str(ends[1])))


def _at(way: Way, t: float) -> Float[Tensor, "1 latent"]:
    """The point of `metrics.interpolation.walk` at the share t."""
    start, end = way.waypoints.double()
    return INTERPOLATIONS[way.path](start, end, torch.tensor([t], dtype=torch.float64)).to(way.waypoints.dtype)


@lru_cache(256)
def _between_digits(network: nn.Module, classifier: Classifier, digits: tuple[int, int]) -> Float[Tensor, "2 latent"]:
    """The surest ones of the points in the noise at which `scripts.interpolate` looks, too.

    Raises:
        UsageError: when the generator doesn't make one of the digits.
    """
    with _lock(network):  # so that what many ask for at once is looked up once; other networks don't wait
        looked_up = _digits_in_noise(network, classifier)
    try:
        return most_confident_latents(*looked_up, digits)
    except ValueError as error:
        raise UsageError(str(error)) from error


@lru_cache(256)
def _lock(network: nn.Module) -> threading.Lock:
    return threading.Lock()


@lru_cache(8)
def _digits_in_noise(
    network: nn.Module, classifier: Classifier
) -> tuple[Float[Tensor, "candidates latent"], Float[Tensor, "candidates 10"]]:
    """Points in a generator's noise, and how sure the classifier is of each digit there."""
    candidates = latent_noise(network, CANDIDATES, rng(DEFAULT_SEED, "digits to walk between"))
    return candidates, class_log_probabilities(network, classifier, candidates)


def _downloadable(content: bytes, describing: str, file_name: str) -> str:
    picture = html.image(content, describing, "picture")
    return f"<figure>{picture}{html.download(content, file_name, 'Download the picture')}</figure>"
