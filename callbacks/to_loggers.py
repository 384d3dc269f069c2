"""What callbacks show goes to every logger that can take it: numbers, pictures, tables."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import Trainer
from PIL import Image


def log_numbers(trainer: Trainer, numbers: Mapping[str, float], step: int) -> None:
    """Logs at once, and at a step of one's own; `module.log` hands on only every `log_every_n_steps`-th batch."""
    for logger in trainer.loggers:
        logger.log_metrics(dict(numbers), step=step)


def log_picture(trainer: Trainer, key: str, path: Path, caption: str) -> None:
    """Shows the PNG in every logger that can show pictures (W&B, TensorBoard and what has their interface)."""
    for logger in trainer.loggers:
        if hasattr(logger, "log_image"):
            logger.log_image(key, [str(path)], step=trainer.global_step, caption=[caption])
        elif hasattr(getattr(logger, "experiment", None), "add_image"):
            pixels = np.asarray(Image.open(path))
            logger.experiment.add_image(key, pixels, trainer.global_step, dataformats="HWC")  # type: ignore[attr-defined]


def shows_tables(trainer: Trainer) -> bool:
    """Whether a logger knows what a table is (W&B and what has its interface)."""
    return any(hasattr(logger, "log_table") for logger in trainer.loggers)


def log_table(trainer: Trainer, key: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Shows a table in every logger that knows what one is; its cells may be pictures."""
    for logger in trainer.loggers:
        if hasattr(logger, "log_table"):
            data = [[_cell(value) for value in row] for row in rows]
            logger.log_table(key, list(columns), data, step=trainer.global_step)


def _cell(value: Any) -> Any:
    import wandb  # whoever has tables has it

    return wandb.Image(value) if isinstance(value, Image.Image) else value
