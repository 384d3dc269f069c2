"""Which settings may change when a run goes on, and which would make it another run."""

from collections.abc import Iterator
from typing import Any

from runtime.errors import UsageError

Config = dict[str, Any]

FIXED = (
    "experiment",
    "seed_everything",
    "model",
    "data",
    "trainer.precision",
    "trainer.gradient_clip_val",
    "trainer.gradient_clip_algorithm",
    "trainer.accumulate_grad_batches",
    "trainer.limit_train_batches",
    "trainer.overfit_batches",
)
FREE_WITHIN_FIXED = ("data.init_args.root", "data.init_args.predict_size")
MAY_CHANGE_BITS = ("trainer.accelerator", "trainer.devices", "trainer.num_nodes", "trainer.strategy")
STEERS_TRAINING = "LengthCurriculum"


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
                f"{_typed(key)} was {old.get(key)} in this run and can't become {new.get(key)}; "
                "leave it as it was, or start a new run without --ckpt_path"
            )
    steps_before, steps_now = before["trainer"]["max_steps"], now["trainer"]["max_steps"]
    if steps_before != steps_now:
        for key, value in old.items():
            if "lr_scheduler.init_args" in key and value == steps_before:
                raise UsageError(
                    f"{_typed(key)} is {value} because max_steps was, so with {steps_now} steps the schedule would "
                    "have been another from the start; start a new run without --ckpt_path"
                )
    return [
        f"{key} was {old.get(key)} and is now {new.get(key)}: the same bits are not promised"
        for key in changed
        if _within(key, MAY_CHANGE_BITS)
    ]


def _settings(config: Config) -> Iterator[tuple[str, Any]]:
    yield from _leaves("", {key: value for key, value in config.items() if key != "trainer"})
    yield from _leaves("trainer.", {key: value for key, value in config["trainer"].items() if key != "callbacks"})
    for callback in config["trainer"]["callbacks"] or ():
        if callback["class_path"].endswith(STEERS_TRAINING):
            yield from _leaves(f"model.{STEERS_TRAINING}.", callback["init_args"])


def _leaves(prefix: str, config: Config) -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        if isinstance(value, dict):
            yield from _leaves(f"{prefix}{key}.", value)
        else:
            yield f"{prefix}{key}", value


def _within(key: str, keys: tuple[str, ...]) -> bool:
    return any(key == fixed or key.startswith(f"{fixed}.") for fixed in keys)


def _typed(key: str) -> str:
    """The setting as people type it."""
    return "--" + key.replace(".init_args", "")
