"""A straight line between two noise vectors morphs one digit into another."""

import copy
from pathlib import Path

import torch
from jaxtyping import Float, Int
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor

from callbacks.pictures import (
    data_source,
    fixed_noise,
    log_picture,
    may_write,
    origin,
    sampling_generator,
    unnoticed,
    write_picture,
)
from networks.files import load_generator, save_generator
from networks.table import NotInTableError

GENERATOR_FILE = "mnist_generator.pth"
STRIP_FILE = "interpolation.png"
CANDIDATES = 16


class InterpolationStrip(Callback):
    """When training ends: saves the generator, loads it back into a fresh one, and walks between two noise vectors.

    The two are those of 16 whose images differ the most, so that there is something to see on the way.
    Writes `mnist_generator.pth` with its `.json` (see `networks.files`) and `interpolation.png` under
    `trainer.default_root_dir`, and shows the strip in every logger that can.

    Args:
        steps: images in the strip, both ends included.

    Raises:
        ValueError: when `steps` is below 2.
    """

    def __init__(self, steps: int = 10) -> None:
        if steps < 2:
            raise ValueError(f"steps is {steps}; a line needs at least its 2 ends")
        self.steps = steps

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not may_write(trainer):
            return
        folder = Path(trainer.default_root_dir)
        generator = self._saved_and_loaded(folder / GENERATOR_FILE, trainer, pl_module)
        candidates = fixed_noise(pl_module, CANDIDATES, "interpolation")
        along = torch.linspace(0, 1, self.steps)[:, None]  # (steps, 1)
        with unnoticed(generator):
            start, end = candidates[_farthest_apart(generator(candidates))]
            images = generator((1 - along) * start + along * end)  # (steps, 1, 28, 28)
        caption = f"a straight line, {origin(trainer)}"
        write_picture(images, folder / STRIP_FILE, per_row=self.steps, caption=caption)
        log_picture(trainer, "interpolation", folder / STRIP_FILE, caption)

    def _saved_and_loaded(self, path: Path, trainer: Trainer, pl_module: LightningModule) -> torch.nn.Module:
        generator = sampling_generator(pl_module)
        averaged = generator is not pl_module.generator
        save_generator(
            generator,
            path,
            weights="ema" if averaged else "raw",
            step=trainer.global_step,
            data_source=data_source(trainer),
        )
        try:
            with isolate_rng():  # a fresh generator draws its first weights
                return load_generator(path)
        except NotInTableError:
            return load_generator(path, copy.deepcopy(generator).float().cpu())


def _farthest_apart(images: Float[Tensor, "n 1 height width"]) -> Int[Tensor, " 2"]:
    """Which two images differ the most, in the sum of squares over their pixels."""
    pixels = images.flatten(1)
    distances = torch.cdist(pixels, pixels)  # (n, n)
    return torch.tensor(divmod(int(distances.argmax()), len(images)))
