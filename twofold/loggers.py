"""Where a run's numbers go: CSV files for everybody, Weights & Biases for those who want more."""

import os
from typing import Any

from twofold.csv_logger import CSVLogger
from twofold.run_folder import RunFolder
from twofold.wandb_logger import TwofoldWandbLogger

__all__ = ["CSVLogger", "TwofoldWandbLogger"]


def take_wandb_variables(settings: Any) -> None:
    """Fills in W&B's variables where the loggers' settings are open, so that a resumed run has them without these."""
    variables = {"project": "WANDB_PROJECT", "name": "WANDB_NAME", "group": "WANDB_RUN_GROUP"}
    for logger in _with_arguments(settings):
        if logger.class_path.endswith(TwofoldWandbLogger.__name__):
            for argument, variable in variables.items():
                logger.init_args[argument] = logger.init_args[argument] or os.environ.get(variable)
            tags = [tag for tag in os.environ.get("WANDB_TAGS", "").split(",") if tag]
            logger.init_args.tags = logger.init_args.tags or tags


def identify_loggers(settings: Any, folder: RunFolder, experiment: str) -> None:
    """Fills in which run this is, wherever the loggers' settings leave it open."""
    identity = {"save_dir": str(folder.path), "id": folder.id, "group": experiment}
    for logger in _with_arguments(settings):
        for name in identity.keys() & vars(logger.init_args).keys():
            logger.init_args[name] = logger.init_args[name] or identity[name]
        if "save_dir" in logger.init_args:
            logger.init_args.save_dir = os.path.expanduser(logger.init_args.save_dir)


def _with_arguments(settings: Any) -> list[Any]:
    """The loggers among the settings that have arguments; the settings may be one, a list, true, false or null."""
    loggers = settings if isinstance(settings, list) else [settings]
    return [logger for logger in loggers if getattr(logger, "init_args", None) is not None]
