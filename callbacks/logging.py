"""Numbers and pictures for every logger that can take them, and a warning for files that can't be written."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from lightning.pytorch import Trainer
from lightning.pytorch.utilities.rank_zero import WarningCache
from PIL import Image

from callbacks.batches import batches_trained

_warnings = WarningCache()


@contextmanager
def warn_if_not_written(what: str) -> Iterator[None]:
    """Turns an error, such as that of a full disk, into a warning, once per message, and ends the block.

    A picture or a table is no reason to end a training.
    """
    try:
        yield
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        _warnings.warn(f"{what} can't be written ({reason}); training continues without it")


def log_numbers(trainer: Trainer, numbers: Mapping[str, float], step: int) -> None:
    """Logs at once, at any step; `LightningModule.log` passes on only every `log_every_n_steps`-th batch."""
    for logger in trainer.loggers:
        logger.log_metrics(dict(numbers), step=step)


def log_image(trainer: Trainer, key: str, path: Path, caption: str) -> None:
    """Logs the PNG in every logger that shows images (W&B, TensorBoard and those with their interface)."""
    for logger in trainer.loggers:
        if hasattr(logger, "log_image"):
            logger.log_image(key, [str(path)], step=batches_trained(trainer), caption=[caption])
        elif hasattr(getattr(logger, "experiment", None), "add_image"):
            pixels = np.asarray(Image.open(path))
            logger.experiment.add_image(key, pixels, batches_trained(trainer), dataformats="HWC")  # type: ignore[attr-defined]
