"""How a generator's images change during training."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from callbacks.batches import batches_trained
from callbacks.drawing import class_rows, grid, page, write_png
from callbacks.generators import (
    fixed_noise,
    may_write,
    sample_images,
    sampling_generator,
    seed_of,
    training_progress,
)
from callbacks.logging import log_image, warn_if_not_written
from common.arguments import check_positive
from networks.conditional import classes_of

ROWS = 8


class ImageGrid(Callback):
    """Writes 64 images from the same noise at batch 0, every `every_n_batches` and at chosen batches.

    Of a class-conditional generator it writes 8 images of each class, with one class in each row.

    Each grid is written to `images/step_000500.png` under `trainer.default_root_dir` and shown in every logger that
    can. The noise depends on the run's seed alone, which checkpoints hold. Works with any module that has a `generator`
    with a `latent_dim`. Training is not changed by it, and continues if a picture can't be written.

    Args:
        every_n_batches: number of batches between two grids.
        also_at: further batches, counted from the start of training.

    Raises:
        ValueError: if `every_n_batches` is below 1, or `also_at` holds a negative number; when training starts, if the
            module has no generator.
    """

    def __init__(self, every_n_batches: int = 500, also_at: Sequence[int] = ()) -> None:
        check_positive(every_n_batches=every_n_batches)
        if any(step < 0 for step in also_at):
            raise ValueError(f"also_at holds {min(also_at)}; write batches counted from 0")
        self.every_n_batches = every_n_batches
        self.also_at = frozenset(also_at)
        self.seed: int | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if batches_trained(trainer) == 0 or self.seed is None:
            self.seed = seed_of(pl_module)
        self.classes = classes_of(sampling_generator(pl_module))
        self.noise = fixed_noise(pl_module, ROWS * (self.classes or ROWS), "image grid", seed=self.seed)
        if batches_trained(trainer) == 0:
            self._write_grid(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        batches = batches_trained(trainer)
        if batches % self.every_n_batches == 0 or batches in self.also_at:
            self._write_grid(trainer, pl_module)

    def _write_grid(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not may_write(trainer):
            return
        path = Path(trainer.default_root_dir) / "images" / f"step_{batches_trained(trainer):06d}.png"
        caption = training_progress(trainer)
        with warn_if_not_written("images/"):
            images = sample_images(pl_module, self.noise)
            cells = class_rows(images, self.classes) if self.classes else (images, ROWS)
            write_png(page([grid(*cells)], caption), path)
            log_image(trainer, "images", path, caption)

    # Instead of `state_dict`, which Lightning doesn't allow for two of a kind.
    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint["image_grid_seed"] = self.seed

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self.seed = checkpoint.get("image_grid_seed")
