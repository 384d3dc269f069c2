"""How the generator's images change while it learns."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from callbacks.best_effort import BestEffort
from callbacks.generators import (
    fixed_noise,
    may_write,
    origin,
    sampling_generator,
    unnoticed,
    write_picture,
)
from callbacks.to_loggers import log_picture

ROWS = 8


class ImageGrid(Callback):
    """Draws 64 images from the same noise at batch 0, every `every_n_batches` and at chosen batches.

    Writes `images/step_000500.png` under `trainer.default_root_dir` and shows the picture in every logger that can.
    The noise is fixed when training starts and kept in the checkpoint. Works with any module that has a `generator`
    with a `latent_dim`. Training goes on as if nothing had happened, also where a picture can't be written.

    Args:
        every_n_batches: distance between two pictures.
        also_at: further batches to draw at, counted from the start of training.

    Raises:
        ValueError: when `every_n_batches` is below 1, or `also_at` holds a negative number.
    """

    def __init__(self, every_n_batches: int = 500, also_at: Sequence[int] = ()) -> None:
        if every_n_batches < 1:
            raise ValueError(f"every_n_batches is {every_n_batches}; write 1 or more")
        if any(step < 0 for step in also_at):
            raise ValueError(f"also_at holds {min(also_at)}; write batches counted from 0")
        self.every_n_batches = every_n_batches
        self.also_at = frozenset(also_at)
        self.noise: Tensor | None = None
        self._pictures = BestEffort("images/")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.noise is None:
            self.noise = fixed_noise(pl_module, ROWS * ROWS, "image grid")
        if trainer.global_step == 0:
            self._draw(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step % self.every_n_batches == 0 or trainer.global_step in self.also_at:
            self._draw(trainer, pl_module)

    def _draw(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not may_write(trainer):
            return
        generator = sampling_generator(pl_module)
        assert self.noise is not None, "the noise is fixed when training starts"
        path = Path(trainer.default_root_dir) / "images" / f"step_{trainer.global_step:06d}.png"
        caption = origin(trainer)
        with unnoticed(generator), self._pictures.attempt():
            images = generator(self.noise.to(next(generator.parameters())))
            write_picture(images, path, per_row=ROWS, caption=caption)
            log_picture(trainer, "images", path, caption)

    def state_dict(self) -> dict[str, Any]:
        return {"noise": self.noise}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.noise = state_dict["noise"]
