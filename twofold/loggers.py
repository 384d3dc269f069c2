"""Where a run's numbers go: CSV files for everybody, Weights & Biases for those who want more."""

import os
from collections.abc import Iterable
from typing import Any

from twofold.csv_logger import CSVLogger
from twofold.run_folder import RunFolder
from twofold.wandb_logger import TwofoldWandbLogger

__all__ = ["CSVLogger", "TwofoldWandbLogger"]


def identify_loggers(settings: Iterable[Any], folder: RunFolder, experiment: str) -> None:
    """Fills in which run this is, wherever the loggers' settings leave it open."""
    group = os.environ.get("WANDB_RUN_GROUP") or experiment
    identity = {"save_dir": str(folder.path), "id": folder.id, "group": group}
    for logger in settings:
        for name in identity.keys() & logger.get("init_args", {}).keys() if hasattr(logger, "get") else ():
            logger.init_args[name] = os.path.expanduser(logger.init_args[name] or identity[name])
