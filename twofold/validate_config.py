"""Settings nobody can mean: Lightning or torch take them, or refuse them late or in words about their own insides."""

import math
import os
import re
import shutil
from collections.abc import Mapping
from typing import Any

import torch

from twofold.errors import UsageError
from twofold.precision import refuse_precision
from twofold.setting_names import leaves, typed

NO_LIMIT = -1
AT_LEAST = {
    "trainer.check_val_every_n_epoch": 1,
    "trainer.log_every_n_steps": 0,
    "trainer.num_nodes": 1,
    "trainer.num_sanity_val_steps": NO_LIMIT,
}
ABOVE_0 = ("trainer.limit_train_batches", "trainer.val_check_interval", "trainer.gradient_clip_val")
COMPILERS = ("g++", "clang++", "c++")
IN_COPIES = ("spawn", "fork", "notebook")
"""Ways of starting processes in which each gets a copy of this one, made to train and nothing else."""
LIMITS = ("trainer.max_steps", "trainer.max_epochs")
NOT_NEGATIVE = ("lr", "max_lr", "eps", "weight_decay", "momentum", "gamma")
"""Of optimizers and schedulers."""


def validate_config(config: Mapping[str, Any]) -> None:
    """Looks at a whole config, as `leaves` takes it apart.

    Raises:
        UsageError: when a number is out of range, or two settings, or one and this machine, don't go together.
    """
    settings = dict(leaves("", dict(config)))
    for key, value in settings.items():
        if key.startswith("model.") and ("optimizer" in key or "scheduler" in key):
            _refuse_rate(key, value)
        if not isinstance(value, int | float):
            continue
        if value < AT_LEAST.get(key, -math.inf):
            raise _wrong(key, value, f"{AT_LEAST[key]} or more")
        if key in ABOVE_0 and not value > 0:
            raise _wrong(key, value, "a number above 0, or null for none")
        if key in LIMITS and value < 1 and value != NO_LIMIT:
            raise _wrong(key, value, f"1 or more, or {NO_LIMIT} for no limit")
    for limit in ("steps", "epochs"):
        least, most = settings.get(f"trainer.min_{limit}"), settings.get(f"trainer.max_{limit}")
        if least is not None and most not in (None, NO_LIMIT) and least > most:
            raise UsageError(f"--trainer.min_{limit} is {least} and --trainer.max_{limit} is {most}; swap them")
    if settings.get("trainer.accumulate_grad_batches") not in (1, None):
        told = settings["trainer.accumulate_grad_batches"]
        raise _wrong("trainer.accumulate_grad_batches", told, "a larger --data.batch_size: one step is one batch here")
    _refuse_no_time(settings.get("trainer.max_time"))
    strategy = str(settings.get("trainer.strategy"))
    if any(way in strategy for way in IN_COPIES):
        raise _wrong("trainer.strategy", strategy, "auto, by which this command starts itself once for each process")
    on_cpu = _on_cpu(settings.get("trainer.accelerator"))
    refuse_precision(settings, on_cpu)
    if settings.get("compile") and not any(map(shutil.which, COMPILERS)):
        raise UsageError(f"--compile needs one of the compilers {', '.join(COMPILERS)}; install one, or leave it out")
    if on_cpu:
        _refuse_for_cpu(settings)


def _refuse_rate(key: str, value: Any) -> None:
    name = key.rpartition(".")[2]
    numbers = [number for number in (value if isinstance(value, list) else [value]) if isinstance(number, int | float)]
    if not all(map(math.isfinite, numbers)):
        raise _wrong(key, value, "a finite number")
    if name in NOT_NEGATIVE and any(number < 0 for number in numbers):
        raise _wrong(key, value, "0 or more")
    if name == "betas" and not all(0 <= number < 1 for number in numbers):
        raise _wrong(key, value, "two numbers from 0 to below 1, such as [0.9, 0.999]")


def _refuse_no_time(given: Any) -> None:
    if isinstance(given, str) and (not re.fullmatch(r"\d+:\d\d:\d\d:\d\d", given) or not re.search("[1-9]", given)):
        raise _wrong("trainer.max_time", given, "days:hours:minutes:seconds, such as 00:00:05:00")


def _on_cpu(accelerator: object) -> bool:
    if accelerator == "auto":
        return not (torch.cuda.is_available() or torch.backends.mps.is_available())
    return accelerator == "cpu"


def _refuse_for_cpu(settings: Mapping[str, Any]) -> None:
    devices, cores = str(settings.get("trainer.devices")), os.cpu_count() or 1
    if re.fullmatch(r"-?[0-9]+", devices) and not 1 <= int(devices) <= cores:
        raise _wrong("trainer.devices", devices, f"1 to {cores}: each is a process, and there are {cores} cores")
    if settings.get("trainer.sync_batchnorm"):
        raise _wrong(
            "trainer.sync_batchnorm", True, "nothing: torch synchronises BatchNorm on GPUs only, by itself here"
        )


def _wrong(key: str, value: Any, instead: str) -> UsageError:
    return UsageError(f"{typed(key)} can't be {value}; write {instead}")
