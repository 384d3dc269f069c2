"""Which settings may change when a run goes on, and which would make it another run."""

import math
from collections.abc import Iterator
from typing import Any

from twofold.errors import UsageError
from twofold.schedules import lengths
from twofold.setting_names import leaves, typed

Config = dict[str, Any]

STEER_TRAINING = ("LengthCurriculum", "StopWhenSolved")
"""The callbacks that decide what is trained on and how long; all others only watch."""

FIXED = (
    "experiment",
    "seed_everything",
    "model",
    "data",
    "trainer.precision",
    "trainer.gradient_clip_val",
    "trainer.gradient_clip_algorithm",
    "trainer.limit_train_batches",
    "trainer.overfit_batches",
    *STEER_TRAINING,
)
FREE_WITHIN_FIXED = tuple(f"data.init_args.{name}" for name in ("root", "predict_size", "test_lengths", "test_size"))
MAY_CHANGE_BITS = ("compile", "trainer.accelerator", "trainer.devices", "trainer.num_nodes", "trainer.strategy")


def check_resumable(before: Config, now: Config) -> list[str]:
    """Compares the run's own config with what is asked of it now.

    Returns:
        Warnings, a line each, about changes after which the run's bits may differ.

    Raises:
        UsageError: when a change would make it another run; names the setting and both values.
    """
    old, new = dict(_settings(before)), dict(_settings(now))
    changed = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    for key in changed:
        if _within(key, FIXED) and not _within(key, FREE_WITHIN_FIXED):
            raise UsageError(
                f"{typed(key)} was {_value(old, key)} in this run and can't become {_value(new, key)}; "
                "leave it as it was, or start a new run without --ckpt_path"
            )
    steps_before, steps_now = before["trainer"]["max_steps"], now["trainer"]["max_steps"]
    if _limit(now, "max_steps") < _limit(before, "max_steps"):
        raise UsageError(
            f"--trainer.max_steps was {steps_before} in this run and can't become {steps_now}; "
            "a larger number extends it, for a shorter run start a new one without --ckpt_path"
        )
    if steps_before != steps_now:
        for key, length in lengths(before).items():
            if length == steps_before:
                raise UsageError(
                    f"{typed(key)} is {length} because max_steps was, so with {steps_now} steps the schedule would "
                    "have been another from the start; start a new run without --ckpt_path"
                )
    return [
        f"{key} was {_value(old, key)} and is now {_value(new, key)}: the same bits are not promised"
        for key in changed
        if _within(key, MAY_CHANGE_BITS)
    ]


def trains_longer(before: Config, now: Config) -> bool:
    """Whether more steps or epochs are asked for than before."""
    return any(_limit(now, name) > _limit(before, name) for name in ("max_steps", "max_epochs"))


def _limit(config: Config, name: str) -> float:
    limit = config["trainer"][name]
    return math.inf if limit in (-1, None) else limit


def _settings(config: Config) -> Iterator[tuple[str, Any]]:
    yield from leaves("", {key: value for key, value in config.items() if key != "trainer"})
    yield from leaves("trainer.", {key: value for key, value in config["trainer"].items() if key != "callbacks"})
    callbacks = config["trainer"]["callbacks"] or []
    for callback in callbacks if isinstance(callbacks, list) else [callbacks]:
        name = callback["class_path"].rpartition(".")[2]
        if name in STEER_TRAINING:
            yield from leaves(f"{name}.", callback["init_args"])


def _within(key: str, keys: tuple[str, ...]) -> bool:
    return any(key == fixed or key.startswith(f"{fixed}.") for fixed in keys)


def _value(settings: dict[str, Any], key: str) -> Any:
    """A setting's value as people write it."""
    return "null" if settings.get(key) is None else settings[key]
