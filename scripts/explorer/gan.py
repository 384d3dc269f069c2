"""Images of a generator: a frame or a strip between two digits or seeds, and random samples.

Every image is a function of the arguments, so concurrent users don't affect one another.
"""

import threading
from collections.abc import Sequence

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn

from callbacks.drawing import grid, interpolation_title, page, predictions, strip, to_pil
from common.seeding import latent_noise, rng
from metrics.features import IMAGE_SHAPE, load_classifier
from metrics.interpolation import (
    INTERPOLATIONS,
    digit_candidates,
    interpolate_latents,
    most_confident_latents,
    validate_digits,
)
from networks.sampling import finite_samples
from scripts.explorer.model_index import ModelIndex
from scripts.generator_files import GeneratorFile
from scripts.interpolate import DEFAULT_SEED, between_seeds
from twofold.errors import UsageError

STRIP_FRAMES = 15
SAMPLES, SAMPLES_PER_ROW = 64, 8
FRAME_SIZE = 280


class GANExplorer:
    """Answers of the page's first tab.

    Args:
        index: where the generators are.
    """

    def __init__(self, index: ModelIndex) -> None:
        self.index = index
        self.classifier = load_classifier()
        self._lock = threading.Lock()
        self._searched: dict[nn.Module, tuple[Tensor, Tensor]] = {}

    def frame(
        self, name: str | None, between: str, start: int | None, end: int | None, interpolation: str, t: float
    ) -> tuple[Image.Image, dict[str, float], str]:
        """Returns the image at `t` from 0 (start) to 1 (end), its class probabilities, and the generator's training.

        There are no probabilities for images of another shape than the classifier takes.

        Raises:
            UsageError: when the generator can't be opened.
            ValueError: when it doesn't make one of the digits.
        """
        trained, (first, last), _ = self._waypoints(name, between, start, end)
        point = INTERPOLATIONS[interpolation](first.double(), last.double(), torch.tensor([t], dtype=torch.float64))
        image = torch.cat([*finite_samples(trained.network, point.to(first.dtype))])
        probabilities = []
        if image.shape[1:] == IMAGE_SHAPE:
            with torch.no_grad():
                probabilities = self.classifier(image).softmax(dim=1)[0].tolist()
        picture = next(to_pil(image)).resize((FRAME_SIZE, FRAME_SIZE), Image.Resampling.NEAREST)
        return picture, {str(digit): p for digit, p in enumerate(probabilities)}, trained.origin

    def strip(
        self, name: str | None, between: str, start: int | None, end: int | None, interpolation: str
    ) -> tuple[Image.Image, str]:
        """Returns all frames in one picture, the same as `scripts.interpolate` writes; raises as `frame` does."""
        trained, waypoints, ends = self._waypoints(name, between, start, end)
        latents = interpolate_latents(waypoints, STRIP_FRAMES, interpolation)
        frames = torch.cat([*finite_samples(trained.network, latents)])
        caption = f"{interpolation_title(interpolation, ends)}, {trained.origin}"
        return page([strip(frames, predictions(self.classifier, frames))], caption), trained.origin

    def samples(self, name: str | None, seed: int | None) -> tuple[Image.Image, str]:
        """Returns a grid of random samples with the classifier's predictions, and an empty message.

        Raises:
            UsageError: when the seed is missing or the generator can't be opened.
        """
        trained = self.index.generator(name)
        if seed is None:
            raise UsageError("write a seed")
        latents = latent_noise(trained.network, SAMPLES, rng(seed, "sample"))
        images = torch.cat([*finite_samples(trained.network, latents)])
        picture = grid(images, SAMPLES_PER_ROW, predictions(self.classifier, images))
        return page([picture], f"seed {seed}, {trained.origin}"), ""

    def _waypoints(
        self, name: str | None, between: str, start: int | None, end: int | None
    ) -> tuple[GeneratorFile, Float[Tensor, "2 latent"], list[str]]:
        trained = self.index.generator(name)
        if start is None or end is None:
            raise UsageError("write a number in both fields")
        if between == "seeds":
            (waypoints,) = between_seeds(trained.network, [start, end], 1)
            return trained, waypoints, [f"seed {start}", f"seed {end}"]
        return trained, self._between_digits(trained.network, [start, end]), [str(start), str(end)]

    def _between_digits(self, network: nn.Module, digits: Sequence[int]) -> Float[Tensor, "2 latent"]:
        """The latents that `scripts.interpolate` takes; finding them takes seconds, once for each generator."""
        validate_digits(digits)
        if network not in self._searched:
            with self._lock:
                if network not in self._searched:
                    self._searched[network] = digit_candidates(network, self.classifier, DEFAULT_SEED)
        return most_confident_latents(*self._searched[network], digits)
