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
from metrics.features import DATA_SOURCES, load_classifier
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

        There are no probabilities if the classifier takes images of another shape, or doesn't know the data.

        Raises:
            UsageError: when the generator can't be opened.
            ValueError: when it doesn't make one of the digits.
        """
        trained, (first, last), _ = self._waypoints(name, between, start, end)
        point = INTERPOLATIONS[interpolation](first.double(), last.double(), torch.tensor([t], dtype=torch.float64))
        image = torch.cat([*finite_samples(trained.network, point.to(first.dtype))])
        classifier, probabilities = self._classifier(trained), []
        if classifier is not None and image.shape[1:] == classifier.image_shape:
            with torch.no_grad():
                probabilities = classifier(image).softmax(dim=1)[0].tolist()
        picture = next(to_pil(image))
        enlargement = max(1, FRAME_SIZE // max(picture.size))
        size = (enlargement * picture.width, enlargement * picture.height)
        picture = picture.resize(size, Image.Resampling.NEAREST)
        return picture, {str(digit): p for digit, p in enumerate(probabilities)}, trained.origin

    def strip(
        self, name: str | None, between: str, start: int | None, end: int | None, interpolation: str
    ) -> tuple[Image.Image, str]:
        """Returns all frames in one picture, the same as `scripts.interpolate` writes; raises as `frame` does."""
        trained, waypoints, ends = self._waypoints(name, between, start, end)
        latents = interpolate_latents(waypoints, STRIP_FRAMES, interpolation)
        frames = torch.cat([*finite_samples(trained.network, latents)])
        caption = f"{interpolation_title(interpolation, ends)}, {trained.origin}"
        return page([strip(frames, predictions(self._classifier(trained), frames))], caption), trained.origin

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
        picture = grid(images, SAMPLES_PER_ROW, predictions(self._classifier(trained), images))
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
        return trained, self._between_digits(trained, [start, end]), [str(start), str(end)]

    def _classifier(self, trained: GeneratorFile) -> nn.Module | None:
        """The classifier if it may know the classes of the generator's data."""
        return self.classifier if trained.metadata["data_source"] in DATA_SOURCES else None

    def _between_digits(self, trained: GeneratorFile, digits: Sequence[int]) -> Float[Tensor, "2 latent"]:
        """The latents that `scripts.interpolate` takes; finding them takes seconds, once for each generator."""
        validate_digits(digits)
        network, classifier = trained.network, self._classifier(trained)
        if network not in self._searched:
            with self._lock:
                if network not in self._searched:
                    self._searched[network] = digit_candidates(network, classifier, DEFAULT_SEED)
        return most_confident_latents(*self._searched[network], digits)
