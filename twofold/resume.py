"""Which settings may change when a run is resumed, and which would make it another run.

This module doesn't import torch, so that `twofold runs` is fast.
"""

import math
import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from common.schedules import SCHEDULE_LENGTHS
from twofold.errors import NothingToDo, UsageError
from twofold.run_folder import RunFolder

Config = Mapping[str, Any]

STEERING_CALLBACKS = (
    *("CosineAnnealing", "LengthCurriculum", "StopWhenSolved"),
    *("StochasticWeightAveraging", "WeightAveraging", "EMAWeightAveraging", "BackboneFinetuning"),
)
"""These callbacks change what is trained, on what, and for how long. Others only observe, or only stop the training."""
FIXED = (
    "experiment",
    "seed_everything",
    "model",
    "data",
    "trainer.precision",
    "trainer.plugins",
    "trainer.gradient_clip_val",
    "trainer.gradient_clip_algorithm",
    "trainer.limit_train_batches",
    "trainer.overfit_batches",
    *STEERING_CALLBACKS,
)
"""These settings, and all below them, may not change within a run."""
FREE = tuple(f"data.init_args.{name}" for name in ("root", "predict_size", "test_lengths", "test_size", "worst_cases"))
"""Exceptions to `FIXED`."""
MAY_CHANGE_BITS = (
    *("compile", "threads"),
    *(f"trainer.{name}" for name in ("accelerator", "devices", "num_nodes", "strategy")),
)
"""After a change of these the run goes on, with a warning."""


def leaves(prefix: str, config: Config) -> Iterator[tuple[str, Any]]:
    """The settings by their full names, such as `data.init_args.batch_size`, each after the prefix."""
    for key, value in config.items():
        if isinstance(value, dict):
            yield from leaves(f"{prefix}{key}.", value)
        else:
            yield f"{prefix}{key}", value


def typed(key: str) -> str:
    """The setting as it is typed on the command line; callbacks' settings have no option of their own."""
    return key if key[0].isupper() else "--" + key.replace(".init_args", "")


def schedule_lengths(config: Config) -> dict[str, int]:
    """The lengths of the learning-rate schedules in batches, by the settings' names."""
    settings = {key: value for key, value in leaves("model.", config["model"]) if "lr_scheduler" in key}
    lengths = {key: value for key, value in settings.items() if key.endswith(SCHEDULE_LENGTHS)}
    for key, epochs in settings.items():  # OneCycleLR takes these two instead of total_steps
        steps = settings.get(f"{key.removesuffix('epochs')}steps_per_epoch")
        if key.endswith(".epochs") and epochs and steps:
            lengths[key] = epochs * steps
    return {key: value for key, value in lengths.items() if isinstance(value, int) and value > 0}


def ends_with_schedule(folder: RunFolder, config: Config) -> bool:
    """Whether a finished run ended at `max_steps` and at the end of a learning-rate schedule; it can't be extended."""
    return "max_steps" in folder.ended_by and config["trainer"]["max_steps"] in schedule_lengths(config).values()


def check_resumable(before: Config, now: Config) -> list[str]:
    """Compares the run's own config with the requested one.

    Returns:
        Warnings about changes after which the run's bits may differ.

    Raises:
        UsageError: if a change would make it another run; names the setting and both values.
    """
    old, new = dict(_settings(before)), dict(_settings(now))
    changed = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    for key in changed:
        if _below(key, FIXED) and not _below(key, FREE):
            raise UsageError(
                f"{typed(key)} was {_value(old, key)} in this run and can't become {_value(new, key)}; "
                "leave it as it was, or start a new run without --ckpt_path"
            )
    for name in ("max_steps", "max_epochs"):
        if _limit(now, name) < _limit(before, name):
            advice = "leave it out" if _limit(before, name) == math.inf else "write a larger number to extend it"
            raise UsageError(
                f"--trainer.{name} was {before['trainer'][name]} in this run and can't become {now['trainer'][name]}; "
                f"{advice}, or start a new run without --ckpt_path"
            )
    steps, more_steps = before["trainer"]["max_steps"], now["trainer"]["max_steps"]
    for key, length in schedule_lengths(before).items():
        if length == steps != more_steps:
            raise UsageError(
                f"{typed(key)} is {length} because max_steps was, so with {more_steps} steps the schedule would have "
                "been another from the start; start a new run without --ckpt_path"
            )
    return [
        f"{key} was {_value(old, key)} and is now {_value(new, key)}: the same bits are not promised"
        for key in changed
        if _below(key, MAY_CHANGE_BITS)
    ]


def check_unfinished(folder: RunFolder, before: Config, now: Config) -> None:
    """Raises NothingToDo if the run is finished, and what ended it would end it again at once."""
    left = [name for name in folder.ended_by if not _is_extended(name, before, now)]
    if not left:
        return
    limits = [f"--trainer.{name} with more than {before['trainer'][name]}" for name in left if name != "callbacks"]
    if ends_with_schedule(folder, before):
        advice = "its learning-rate schedule is at its end, so for more steps start a new run without --ckpt_path"
    elif limits:
        advice = f"to train on, add {' and '.join(limits)}"
    elif any(key.startswith("StopWhenSolved.") for key, _ in _settings(before)):
        advice = "a callback stopped it; to train with other settings, start a new run without --ckpt_path"
    else:
        advice = "a callback stopped it; to train on, change --trainer.callbacks, for example to a larger patience"
    raise NothingToDo(f"this run is finished: {folder.step:,} batches, in {folder.path}; {advice}")


def _is_extended(name: str, before: Config, now: Config) -> bool:
    if name == "callbacks":
        return any(before["trainer"][each] != now["trainer"][each] for each in ("callbacks", "min_steps", "min_epochs"))
    return _limit(now, name) > _limit(before, name)


def _limit(config: Config, name: str) -> float:
    """A limit of the trainer: batches, epochs or seconds."""
    limit = config["trainer"][name]
    if isinstance(limit, dict):  # max_time may be written as {hours: 1}
        return timedelta(**limit).total_seconds()
    if isinstance(limit, str):
        parts = re.fullmatch(r"(\d+):(\d\d):(\d\d):(\d\d)", limit.strip())  # Lightning refuses others
        days, hours, minutes, seconds = map(int, parts.groups() if parts else (0, 0, 0, 0))
        return timedelta(days, seconds, hours=hours, minutes=minutes).total_seconds()
    return math.inf if limit in (-1, None) else limit


def _settings(config: Config) -> Iterator[tuple[str, Any]]:
    yield from leaves("", {key: value for key, value in config.items() if key != "trainer"})
    yield from leaves("trainer.", {key: value for key, value in config["trainer"].items() if key != "callbacks"})
    callbacks = config["trainer"]["callbacks"] or []
    for callback in callbacks if isinstance(callbacks, list) else [callbacks]:
        name = callback["class_path"].rpartition(".")[2]
        if name in STEERING_CALLBACKS:
            yield from leaves(f"{name}.", callback["init_args"])


def _below(key: str, keys: tuple[str, ...]) -> bool:
    return any(key == parent or key.startswith(f"{parent}.") for parent in keys)


def _value(settings: dict[str, Any], key: str) -> Any:
    return "null" if settings.get(key) is None else settings[key]
