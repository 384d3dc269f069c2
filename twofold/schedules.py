"""Learning rates that change over a number of batches, beside how many batches a run has."""

from collections.abc import Mapping
from typing import Any

from twofold.setting_names import leaves, typed

LENGTHS = ("total_iters", "total_steps", "T_max")
"""What torch's schedulers call the number of batches over which they change a rate."""


def end_with_the_run(config: Mapping[str, Any]) -> bool:
    """Whether learning rates are at their end after `max_steps`, so a longer run is another from its start."""
    return config["trainer"]["max_steps"] in lengths(config).values()


def of_another_length(config: Mapping[str, Any]) -> list[str]:
    """What is wrong with schedules that aren't as long as the run, a line for each length."""
    steps, by_key = config["trainer"]["max_steps"], lengths(config)
    return [
        f"{' and '.join(typed(key) for key in by_key if by_key[key] == length)} say {length:,} batches and "
        f"--trainer.max_steps {steps:,}, so "
        + (
            f"rates get {steps / length:.0%} of their way"
            if steps < length
            else "their schedule is over before the run is"
        )
        for length in dict.fromkeys(by_key.values())
        if steps not in (-1, length)
    ]


def lengths(config: Mapping[str, Any]) -> dict[str, int]:
    """Over how many batches schedules change rates, by the names of the settings that say so."""
    return {
        key: value
        for key, value in leaves("model.", config["model"])
        if "lr_scheduler" in key and key.rpartition(".")[2] in LENGTHS and isinstance(value, int) and value > 0
    }
