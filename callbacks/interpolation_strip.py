"""Interpolation between noise vectors turns one digit into another."""

import copy
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
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
    interpolate_latents,
    most_confident_latents,
    validate_digits,
    validate_interpolation,
)
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
    most. The classifier's label is below each frame, if it takes frames of this size and knows the data. If the
    generator doesn't make the digits, or slerp isn't defined, a warning says so and the strip is a lerp between two
    images that differ.

    Writes `mnist_generator.pth` with its `.json` (see `networks.generator_files`) and `interpolation.png` under
    `trainer.default_root_dir`, and shows the strip in every logger that can.

    Args:
        steps: images from one waypoint to the next, both included.
        interpolation: lerp or slerp, see `metrics.interpolation`.
        digits: two or more from 0 to 9, such as [3, 8, 1].

    Raises:
        ValueError: if `steps` is below 2, the interpolation is unknown, or `digits` holds fewer than two or other
            numbers; when training starts, if the module has no generator.
    """

    def __init__(self, steps: int = 10, interpolation: str = "lerp", digits: Sequence[int] | None = None) -> None:
        validate_interpolation(2 if digits is None else len(digits), steps, interpolation)
        validate_digits(digits or ())
        self.steps = steps
        self.interpolation = interpolation
        self.digits = digits

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        sampling_generator(pl_module)  # raises before training if there is none

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not may_write(trainer):
            return
        folder = Path(trainer.default_root_dir)
        # A new network may initialise its weights.
        with isolate_rng(), torch.no_grad(), warn_if_not_written(f"{GENERATOR_FILE} or {STRIP_FILE}"):
            save_sampling_generator(trainer, pl_module, folder / GENERATOR_FILE)
            generator, classifier = _load(folder / GENERATOR_FILE, pl_module), classifier_of(data_source(trainer))
            latents, title = self._latents(generator, classifier, pl_module)
            images = sample(generator, latents)
            caption = f"{title}, {training_progress(trainer)}"
            write_png(page([strip(images, predictions(classifier, images))], caption), folder / STRIP_FILE)
            log_image(trainer, "interpolation", folder / STRIP_FILE, caption)

    def _latents(
        self, generator: nn.Module, classifier: nn.Module | None, module: LightningModule
    ) -> tuple[Float[Tensor, "frames latent"], str]:
        """The latents of the frames, and what the strip shows."""
        try:
            if self.digits is None:
                waypoints = _two_that_differ(generator, module)
            else:
                candidates = digit_candidates(generator, classifier, seed_of(module))
                waypoints = most_confident_latents(*candidates, self.digits)
            title = interpolation_title(self.interpolation, [str(digit) for digit in self.digits or ()])
            return interpolate_latents(waypoints, self.steps, self.interpolation), title
        except ValueError as error:
            rank_zero_warn(f"the strip is a lerp between two images that differ: {error}")
            return interpolate_latents(_two_that_differ(generator, module), self.steps), "lerp"


def _load(path: Path, module: LightningModule) -> nn.Module:
    try:
        return load_generator(path)
    except NotRegisteredError:  # a class of the user's own
        return load_generator(path, copy.deepcopy(sampling_generator(module)).float().cpu())


def _two_that_differ(generator: nn.Module, module: LightningModule) -> Float[Tensor, "2 latent"]:
    """The two of 16 noise vectors whose images have the largest Euclidean distance."""
    candidates = fixed_noise(module, ENDS_TO_CHOOSE_FROM, "interpolation")
    pixels = generator(candidates).flatten(1)
    largest = int(torch.cdist(pixels, pixels).argmax())
    return candidates[[*divmod(largest, len(candidates))]]
