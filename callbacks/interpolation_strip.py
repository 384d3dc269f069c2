"""Interpolation between noise vectors turns one digit into another."""

import copy
from collections.abc import Sequence
from pathlib import Path

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor, nn

from callbacks.drawing import interpolation_title, page, predictions, strip, write_png
from callbacks.generators import (
    data_source,
    fixed_noise,
    may_write,
    sampling_generator,
    save_sampling_generator,
    seed_of,
    training_progress,
)
from callbacks.logging import log_image, warn_if_not_written
from metrics.features import classifier_of
from metrics.interpolation import (
    digit_candidates,
    interpolate_inputs,
    most_confident_latents,
    validate_digits,
    validate_interpolation,
)
from networks.conditional import class_weights, classes_of
from networks.generator_files import load_generator
from networks.registry import NotRegisteredError
from networks.sampling import sample

GENERATOR_FILE = "mnist_generator.pth"
STRIP_FILE = "interpolation.png"
ENDS_TO_CHOOSE_FROM = 16


class InterpolationStrip(Callback):
    """When training ends: saves the generator, loads it into a new one, and interpolates between noise vectors.

    With `digits` it interpolates from digit to digit, between noise vectors whose images the classifier of
    `metrics.features` is most confident of. Otherwise it takes two noise vectors: those of 16 whose images differ the
    most. A class-conditional generator makes the classes `digits` from one noise vector; without `digits`, the 16 are
    of all classes in turn. The classifier's label is below each frame, if it takes frames of this size and knows the
    data. If the generator doesn't make the digits, or slerp isn't defined, a warning says so and the strip is a lerp
    between two images that differ.

    Writes `mnist_generator.pth` with its `.json` (see `networks.generator_files`) and `interpolation.png` under
    `trainer.default_root_dir`, and shows the strip in every logger that can.

    Args:
        steps: images from one waypoint to the next, both included.
        interpolation: lerp or slerp, see `metrics.interpolation`.
        digits: two or more from 0 to 9, such as [3, 8, 1], or classes of a class-conditional generator.

    Raises:
        ValueError: if `steps` is below 2, the interpolation is unknown, or `digits` holds fewer than two; when training
            starts, if the module has no generator, or `digits` holds other numbers.
    """

    def __init__(self, steps: int = 10, interpolation: str = "lerp", digits: Sequence[int] | None = None) -> None:
        validate_interpolation(2 if digits is None else len(digits), steps, interpolation)
        self.steps = steps
        self.interpolation = interpolation
        self.digits = digits

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        classes = classes_of(sampling_generator(pl_module))  # raises if there is no generator
        validate_digits(self.digits or (), classes or 10)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not may_write(trainer):
            return
        folder = Path(trainer.default_root_dir)
        # A new network may initialise its weights.
        with isolate_rng(), torch.no_grad(), warn_if_not_written(f"{GENERATOR_FILE} or {STRIP_FILE}"):
            save_sampling_generator(trainer, pl_module, folder / GENERATOR_FILE)
            generator, classifier = _load(folder / GENERATOR_FILE, pl_module), classifier_of(data_source(trainer))
            inputs, title = self._inputs(generator, classifier, pl_module)
            images = sample(generator, *inputs)
            caption = f"{title}, {training_progress(trainer)}"
            write_png(page([strip(images, predictions(classifier, images))], caption), folder / STRIP_FILE)
            log_image(trainer, "interpolation", folder / STRIP_FILE, caption)

    def _inputs(
        self, generator: nn.Module, classifier: nn.Module | None, module: LightningModule
    ) -> tuple[tuple[Tensor, ...], str]:
        """The latents of the frames, with class weights of a class-conditional generator, and what the strip shows."""
        try:
            if self.digits is None:
                waypoints = _two_that_differ(generator, module)
            elif classes_of(generator):
                n, noise = len(self.digits), fixed_noise(module, 1, "interpolation")
                waypoints = (noise.expand(n, -1), *class_weights(generator, n, self.digits))
            else:
                candidates = digit_candidates(generator, classifier, seed_of(module))
                waypoints = (most_confident_latents(*candidates, self.digits),)
            title = interpolation_title(self.interpolation, [str(digit) for digit in self.digits or ()])
            return interpolate_inputs(waypoints, self.steps, self.interpolation), title
        except ValueError as error:
            rank_zero_warn(f"the strip is a lerp between two images that differ: {error}")
            return interpolate_inputs(_two_that_differ(generator, module), self.steps), "lerp"


def _load(path: Path, module: LightningModule) -> nn.Module:
    try:
        return load_generator(path)
    except NotRegisteredError:  # a class of the user's own
        return load_generator(path, copy.deepcopy(sampling_generator(module)).float().cpu())


def _two_that_differ(generator: nn.Module, module: LightningModule) -> tuple[Tensor, ...]:
    """The two of 16 noise vectors, and their class weights, whose images have the largest Euclidean distance."""
    candidates = fixed_noise(module, ENDS_TO_CHOOSE_FROM, "interpolation")
    inputs = (candidates, *class_weights(generator, len(candidates)))
    pixels = sample(generator, *inputs).flatten(1)
    largest = int(torch.cdist(pixels, pixels).argmax())
    return tuple(each[[*divmod(largest, len(candidates))]] for each in inputs)
