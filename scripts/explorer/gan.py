"""Images of a generator: a frame or a strip between two digits or seeds, and random samples.

Every image is a function of the arguments, so concurrent users don't affect one another.
"""

import threading
from collections.abc import Sequence
from contextlib import suppress

import torch
from PIL import Image
from torch import Tensor, nn

from callbacks.drawing import class_rows, grid, interpolation_title, page, predictions, strip, to_pil
from common.seeding import latent_noise, rng
from metrics.features import DATA_SOURCES, load_classifier
from metrics.interpolation import (
    INTERPOLATIONS,
    digit_candidates,
    interpolate_inputs,
    most_confident_latents,
    validate_digits,
)
from networks.conditional import classes_of, labels_in_turn
from networks.sampling import finite_samples
from scripts.explorer.model_index import ModelIndex
from scripts.generator_files import GeneratorFile
from scripts.interpolate import DEFAULT_SEED, Waypoints, between_seeds, seed_titles
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

    def classes(self, name: str | None) -> list[str]:
        """Returns the names of a generator's classes; none of an unconditional one, and of one that can't be opened."""
        with suppress(UsageError):
            return self.index.generator(name).class_names
        return []

    def makes_digits(self, name: str | None) -> bool:
        """Returns whether it has frames between digits: it has no classes, and the classifier takes its images."""
        with suppress(UsageError):
            trained = self.index.generator(name)
            image_shape = getattr(trained.network, "image_shape", self.classifier.image_shape)
            takes = self._classifier(trained) is not None and tuple(image_shape) == self.classifier.image_shape
            return takes and not classes_of(trained.network)
        return True

    def frame(
        self,
        name: str | None,
        between: str,
        start: int | None,
        end: int | None,
        interpolation: str,
        t: float,
        first_class: int | None = None,
        last_class: int | None = None,
    ) -> tuple[Image.Image, dict[str, float], str]:
        """Returns the image at `t` from 0 (start) to 1 (end), its class probabilities, and the generator's training.

        A class-conditional generator has no digits but seeds and their classes; one class holds for both seeds. There
        are no probabilities if the classifier takes images of another shape, or doesn't know the data.

        Raises:
            UsageError: when the generator can't be opened, or has classes and no digits.
            ValueError: when it doesn't make one of the digits, or doesn't have one of the classes.
        """
        trained, waypoints, _ = self._waypoints(name, between, start, end, first_class, last_class)
        at = torch.tensor([t], dtype=torch.float64)
        pairs = zip((interpolation, "lerp"), waypoints, strict=False)  # latents, and class weights if there are any
        inputs = [INTERPOLATIONS[kind](ends[0].double(), ends[1].double(), at).float() for kind, ends in pairs]
        image = torch.cat([*finite_samples(trained.network, *inputs)])
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
        self,
        name: str | None,
        between: str,
        start: int | None,
        end: int | None,
        interpolation: str,
        first_class: int | None = None,
        last_class: int | None = None,
    ) -> tuple[Image.Image, str]:
        """Returns all frames in one picture, the same as `scripts.interpolate` writes; raises as `frame` does."""
        trained, waypoints, ends = self._waypoints(name, between, start, end, first_class, last_class)
        inputs = interpolate_inputs(waypoints, STRIP_FRAMES, interpolation)
        frames = torch.cat([*finite_samples(trained.network, *inputs)])
        caption = f"{interpolation_title(interpolation, ends)}, {trained.origin}"
        return page([strip(frames, predictions(self._classifier(trained), frames))], caption), trained.origin

    def samples(self, name: str | None, seed: int | None, classes: Sequence[int] = ()) -> tuple[Image.Image, str]:
        """Returns a grid of random samples with the classifier's predictions, and an empty message.

        Of a class-conditional generator it has a row for each of its classes, or of the chosen `classes`.

        Raises:
            UsageError: when the seed is missing or the generator can't be opened.
            ValueError: when the generator doesn't have one of the classes.
        """
        trained = self.index.generator(name)
        if seed is None:
            raise UsageError("write a seed")
        turns = len(classes) or classes_of(trained.network)
        n = SAMPLES_PER_ROW * turns if turns > 1 else SAMPLES
        latents = latent_noise(trained.network, n, rng(seed, "sample"))
        labels = labels_in_turn(trained.network, n, classes)
        images = torch.cat([*finite_samples(trained.network, latents, *labels)])
        images, per_row = class_rows(images, turns) if turns > 1 else (images, SAMPLES_PER_ROW)
        picture = grid(images, per_row, predictions(self._classifier(trained), images))
        return page([picture], f"seed {seed}, {trained.origin}"), ""

    def _waypoints(
        self, name: str | None, between: str, start: int | None, end: int | None, *of_ends: int | None
    ) -> tuple[GeneratorFile, Waypoints, list[str]]:
        trained = self.index.generator(name)
        if start is None or end is None:
            raise UsageError("write a number in both fields")
        if between == "seeds":
            classes = [each for each in of_ends if each is not None]
            (waypoints,) = between_seeds(trained.network, [start, end], 1, classes)
            return trained, waypoints, seed_titles([start, end], [trained.class_names[each] for each in classes])
        return trained, self._between_digits(trained, [start, end]), [str(start), str(end)]

    def _classifier(self, trained: GeneratorFile) -> nn.Module | None:
        """The classifier if it may know the classes of the generator's data."""
        return self.classifier if trained.metadata["data_source"] in DATA_SOURCES else None

    def _between_digits(self, trained: GeneratorFile, digits: Sequence[int]) -> Waypoints:
        """The waypoints that `scripts.interpolate` takes; finding latents takes seconds, once for each generator."""
        network, classifier = trained.network, self._classifier(trained)
        if classes_of(network):
            raise UsageError("this generator has classes; choose seeds, and the class of each")
        validate_digits(digits)
        if network not in self._searched:
            with self._lock:
                if network not in self._searched:
                    self._searched[network] = digit_candidates(network, classifier, DEFAULT_SEED)
        return (most_confident_latents(*self._searched[network], digits),)
