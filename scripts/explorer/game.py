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
from networks.judge import Judge, load_judge
from networks.latent_walks import CANDIDATES, PATHS, MissingDigitError, sureness, surest, walk
from networks.sampling import images_from
from networks.seeding import HIGHEST_SEED, generator, latent_noise
from runtime.errors import UsageError
from scripts.explorer import fields, markup
from scripts.explorer.shelf import Shelf
from scripts.generator_files import GeneratorFile
from scripts.interpolate import DEFAULT_SEED, between_seeds

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
        self.judge = load_judge()

    def frame(self, name: object, kind: object, start: object, end: object, path: object, t: object) -> str:
        """The image at the share `t` of the way, and what the judge reads in it."""
        way = self._way(name, kind, start, end, path)
        latent = _at(way, fields.share(t, "place on the way"))
        image = torch.cat([*images_from(way.trained.network, latent)])
        with torch.no_grad():
            probabilities = self.judge(image).softmax(dim=1)[0].tolist()
        (reading,) = readings(self.judge, image)
        picture = markup.image(markup.png(next(shades(image))), f"an image that the judge reads as {reading}", "digit")
        caption = escape(f"{name}: {way.trained.origin}")
        return (
            f'<div class="frame"><figure>{picture}<figcaption>{caption}</figcaption></figure>'
            f"<div><h3>The judge reads</h3>{markup.bars(probabilities)}</div></div>"
        )

    def strip(self, name: object, kind: object, start: object, end: object, path: object) -> str:
        """The whole way as a strip, to look at and to download; `scripts.interpolate` draws the same."""
        way = self._way(name, kind, start, end, path)
        frames = torch.cat([*images_from(way.trained.network, walk(way.waypoints, STRIP_FRAMES, way.path))])
        picture = page([strip(frames, readings(self.judge, frames))], f"{way.title}, {way.trained.origin}")
        file_name = re.sub(r"\W+", "_", f"{way.ends[0]} to {way.ends[1]} {way.path}") + ".png"
        return _downloadable(markup.png(picture), way.title, file_name)

    def samples(self, name: object, seed: object) -> str:
        """Random samples, under each what the judge reads, to look at and to download."""
        number = fields.whole_number(seed, "seed", 0, HIGHEST_SEED)
        trained = self.shelf.generator(name)
        latents = latent_noise(trained.network, SAMPLES, generator(number, "sample"))
        images = torch.cat([*images_from(trained.network, latents)])
        picture = page(
            [grid(images, SAMPLES_PER_ROW, readings(self.judge, images))], f"seed {number}, {trained.origin}"
        )
        return _downloadable(markup.png(picture), f"{SAMPLES} samples from seed {number}", f"samples_seed_{number}.png")

    def _way(self, name: object, kind: object, start: object, end: object, path: object) -> Way:
        path, kind = fields.one_of(path, "path", PATHS), fields.one_of(kind, "between", ENDS)
        word, highest = ENDS[kind]
        ends = [
            fields.whole_number(value, f"{side} {word}", 0, highest)
            for side, value in (("first", start), ("second", end))
        ]
        trained = self.shelf.generator(name)
        if kind == "seeds":
            (waypoints,) = between_seeds(trained.network, ends, 1)
            return Way(trained, waypoints, path, (f"seed {ends[0]}", f"seed {ends[1]}"))
        waypoints = _between_digits(trained.network, self.judge, (ends[0], ends[1]))
        return Way(trained, waypoints, path, (str(ends[0]), str(ends[1])))


def _at(way: Way, t: float) -> Float[Tensor, "1 latent"]:
    """The point of `networks.latent_walks.walk` at the share t."""
    start, end = way.waypoints.double()
    return PATHS[way.path](start, end, torch.tensor([t], dtype=torch.float64)).to(way.waypoints.dtype)


@lru_cache(256)
def _between_digits(network: nn.Module, judge: Judge, digits: tuple[int, int]) -> Float[Tensor, "2 latent"]:
    """The surest ones of the points in the noise at which `scripts.interpolate` looks, too.

    Raises:
        UsageError: when the generator doesn't make one of the digits.
    """
    with _lock(network):  # so that what many ask for at once is looked up once; other networks don't wait
        looked_up = _digits_in_noise(network, judge)
    try:
        return surest(*looked_up, digits)
    except MissingDigitError as error:
        raise UsageError(
            f"{error.finding}; choose other digits or another generator, or walk between two seeds"
        ) from error


@lru_cache(256)
def _lock(network: nn.Module) -> threading.Lock:
    return threading.Lock()


@lru_cache(8)
def _digits_in_noise(
    network: nn.Module, judge: Judge
) -> tuple[Float[Tensor, "candidates latent"], Float[Tensor, "candidates 10"]]:
    """Points in a generator's noise, and how sure the judge is of each digit there."""
    candidates = latent_noise(network, CANDIDATES, generator(DEFAULT_SEED, "digits to walk between"))
    return candidates, sureness(network, judge, candidates)


def _downloadable(content: bytes, describing: str, file_name: str) -> str:
    picture = markup.image(content, describing, "picture")
    return f"<figure>{picture}{markup.download(content, file_name, 'Download the picture')}</figure>"
