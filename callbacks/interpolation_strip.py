"""A line between two noise vectors morphs one digit into another."""

import copy
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float, Int
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from lightning.pytorch.utilities.seed import isolate_rng
from PIL import Image
from torch import Tensor, nn

from callbacks.best_effort import BestEffort
from callbacks.drawing import along, page, readings, strip, write_png
from callbacks.generators import (
    fixed_noise,
    keep_generator,
    may_write,
    origin,
    sampling_generator,
    unnoticed,
)
from callbacks.to_loggers import log_picture
from common.seeding import HIGHEST_SEED
from metrics.features import load_classifier
from metrics.interpolation import (
    CANDIDATES,
    class_log_probabilities,
    interpolate_latents,
    latents_from_seeds,
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
READ = (1, 28, 28)
"""The images that classifiers read."""


class InterpolationStrip(Callback):
    """When training ends: saves the generator, loads it back into a fresh one, and walks between noise vectors.

    With `digits` it walks from digit to digit, through noise whose images the classifier of `metrics.features` is
    surest of;
    with `seeds`, from noise to noise, each made from a seed as `scripts.interpolate` makes it. Without either it walks
    between two: those of 16 whose images differ the most, so that there is something to see on the way. Under each
    frame stands what the classifier reads, if frames have the size that it reads. Where it doesn't find the digits, a
    warning says so and the strip is the one without. Likewise where there is no arc, a straight line is drawn.

    Writes `mnist_generator.pth` with its `.json` (see `networks.generator_files`) and `interpolation.png` under
    `trainer.default_root_dir`, and shows the strip in every logger that can.

    Args:
        steps: images on the way from one end, or one digit, to the next, both included.
        interpolation: lerp or slerp, see `metrics.interpolation`.
        digits: two or more from 0 to 9, such as [3, 8, 1].
        seeds: two or more; leave out one of both.

    Raises:
        ValueError: when `steps` is below 2, the path is unknown, `digits` or `seeds` holds fewer than two or other
            numbers, or both are given; when training starts, if the module has no generator.
    """

    def __init__(
        self,
        steps: int = 10,
        interpolation: str = "lerp",
        digits: Sequence[int] | None = None,
        seeds: Sequence[int] | None = None,
    ) -> None:
        if digits is not None and seeds is not None:
            raise ValueError("a strip walks between digits or between seeds; leave one of both out")
        for waypoints in (digits, seeds):
            validate_interpolation(2 if waypoints is None else len(waypoints), steps, interpolation)
        validate_digits(digits or ())
        for seed in seeds or ():
            if not 0 <= seed <= HIGHEST_SEED:
                raise ValueError(f"seeds holds {seed}; write whole numbers from 0 to {HIGHEST_SEED}")
        self.steps = steps
        self.interpolation = interpolation
        self.digits = digits
        self.seeds = seeds

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        sampling_generator(pl_module)  # a module without one is refused before it has trained

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not may_write(trainer):
            return
        with BestEffort(f"{GENERATOR_FILE} or {STRIP_FILE}").attempt():
            self._save_and_draw(trainer, pl_module)

    def _save_and_draw(self, trainer: Trainer, pl_module: LightningModule) -> None:
        folder = Path(trainer.default_root_dir)
        generator = self._saved_and_loaded(folder / GENERATOR_FILE, trainer, pl_module)
        with unnoticed(generator):
            try:
                picture, what = self._asked_for(generator, pl_module)
            except ValueError as error:
                rank_zero_warn(f"the strip is a straight line between two images that differ: {error}")
                picture, what = self._between_two(generator, pl_module, "lerp")
            caption = f"{what}, {origin(trainer)}"
            write_png(page([picture], caption), folder / STRIP_FILE)
        log_picture(trainer, "interpolation", folder / STRIP_FILE, caption)

    def _asked_for(self, generator: nn.Module, pl_module: LightningModule) -> tuple[Image.Image, str]:
        """The strip and what it shows; raises ValueError where it can't be drawn."""
        if self.digits is not None:
            candidates = fixed_noise(pl_module, CANDIDATES, "digits to walk between")
            log_probabilities = class_log_probabilities(generator, load_classifier(), candidates)
            waypoints = most_confident_latents(candidates, log_probabilities, self.digits)
            ends = [str(digit) for digit in self.digits]
        elif self.seeds is not None:
            waypoints = latents_from_seeds(generator, self.seeds)
            ends = [f"seed {seed}" for seed in self.seeds]
        else:
            return self._between_two(generator, pl_module, self.interpolation)
        return self._through(waypoints, generator, self.interpolation), along(self.interpolation, ends)

    def _between_two(self, generator: nn.Module, pl_module: LightningModule, path: str) -> tuple[Image.Image, str]:
        candidates = fixed_noise(pl_module, ENDS_TO_CHOOSE_FROM, "interpolation")
        ends = candidates[_farthest_apart(generator(candidates))]
        return self._through(ends, generator, path), along(path)

    def _through(self, waypoints: Float[Tensor, "waypoints latent"], generator: nn.Module, path: str) -> Image.Image:
        images = sample(generator, interpolate_latents(waypoints, self.steps, path))
        return strip(images, readings(load_classifier(), images) if images.shape[1:] == READ else ())

    def _saved_and_loaded(self, path: Path, trainer: Trainer, pl_module: LightningModule) -> nn.Module:
        generator = sampling_generator(pl_module)
        keep_generator(trainer, pl_module, path)
        try:
            with isolate_rng():  # a fresh generator draws its first weights
                return load_generator(path)
        except NotRegisteredError:
            return load_generator(path, copy.deepcopy(generator).float().cpu())


def _farthest_apart(images: Float[Tensor, "n 1 height width"]) -> Int[Tensor, " 2"]:
    """Which two images differ the most, in the sum of squares over their pixels."""
    pixels = images.flatten(1)
    distances = torch.cdist(pixels, pixels)  # (n, n)
    return torch.tensor(divmod(int(distances.argmax()), len(images)))
