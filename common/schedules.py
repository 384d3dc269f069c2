"""How long a learning-rate schedule lasts. This module doesn't import torch, so that `twofold runs` is fast."""

from collections.abc import Mapping
from typing import Any

SCHEDULE_LENGTHS = ("total_iters", "total_steps", "T_max")
"""The arguments by which torch's learning-rate schedulers take the number of steps they last."""


def missing_length(arguments: Mapping[str, Any]) -> str | None:
    """Returns which of a scheduler's arguments is its length, if that isn't given.

    Args:
        arguments: all arguments of the scheduler; None for one that isn't given.
    """
    if arguments.get("epochs") is not None:  # OneCycleLR takes epochs and steps_per_epoch, too
        return None
    return next((name for name in SCHEDULE_LENGTHS if name in arguments and arguments[name] is None), None)
