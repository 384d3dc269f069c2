"""Errors of a run, replaced by ones that say in one line what is left and what to do."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Timer

from twofold.checkpoint_io import read_checkpoint
from twofold.errors import UsageError, one_line
from twofold.listing import resume_command
from twofold.ranks import is_rank_zero
from twofold.resume import leaves
from twofold.run_folder import RunFolder

LOST_PROCESS = (
    *("Connection closed by peer", "Connection reset by peer", "Broken pipe"),
    *("Timed out waiting", "Socket Timeout"),
)
"""Parts of torch's messages when another process doesn't answer."""


def what_ended(trainer: Trainer, max_time: Any) -> list[str]:
    """Returns which settings of the trainer ended a training, so that a change of these can extend it.

    They are `max_steps`, `max_epochs`, `max_time` and `callbacks`, more than one if they agree.
    """
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    timers = [callback for callback in callbacks if isinstance(callback, Timer)]
    is_over = max_time is not None and any((timer.time_remaining() or math.inf) <= 0 for timer in timers)
    limits = {
        "max_steps": 0 <= trainer.max_steps <= trainer.global_step,
        "max_epochs": 0 <= (trainer.max_epochs or -1) <= trainer.current_epoch,
        "max_time": trainer.should_stop and is_over,
    }
    # EarlyStopping also looks at an epoch that a limit broke off. A resumed run completes it first.
    return [name for name, reached in limits.items() if reached] or ["callbacks"]


def raise_fit_error(error: BaseException, folder: RunFolder | None, refused: bool, trained: bool) -> NoReturn:
    """Raises what a run says about an error of `trainer.fit`.

    Args:
        error: what `fit` raised.
        folder: the run's.
        refused: whether the error is about a setting, and came before the first step.
        trained: whether the run has trained a batch, now or before it was resumed.
    """
    newest = next(iter(folder.checkpoints()), None) if folder is not None else None
    left = f"; the last good checkpoint is {newest}" if newest else "; there is no checkpoint yet"
    _raise_if_interrupted(error)
    if refused:
        raise UsageError(one_line(error)) from error
    if isinstance(error, FloatingPointError):
        raise FloatingPointError(
            f"{error}{left}. The same settings lead to the same end: start a new run, for example with a lower "
            "learning rate or with gradient clipping"
        ) from error
    if isinstance(error, OSError) and trained and folder is not None:
        again = f"once that is solved, resume with: {resume_command(folder)}"
        raise RuntimeError(f"{one_line(error)}{left}; {again}") from error
    _raise_if_process_lost(error, left)
    raise error


def raise_evaluation_error(error: BaseException, checkpoint: str, module: LightningModule) -> NoReturn:
    """Raises what `validate`, `test` and `predict` say about an error of the trainer's."""
    _raise_if_interrupted(error)
    _raise_if_process_lost(error, "")
    if isinstance(error, ValueError):
        raise UsageError(one_line(error)) from error
    if "loading state_dict" not in str(error):
        raise error
    saved = read_checkpoint(Path(checkpoint)).get("hyper_parameters", {})
    raise UsageError(
        f"the weights in {checkpoint} don't fit the model of this config{_differences(saved, module.hparams)}; "
        "write -c with the config.yaml of the checkpoint's own run"
    ) from error


def _raise_if_interrupted(error: BaseException) -> None:
    if isinstance(error, SystemExit):  # Lightning's reaction to a Ctrl-C that StopOnSignal doesn't handle
        raise KeyboardInterrupt from error


def _raise_if_process_lost(error: BaseException, left: str) -> None:
    if isinstance(error, RuntimeError) and any(part in str(error) for part in LOST_PROCESS):
        if not is_rank_zero():  # which prints the message
            raise SystemExit(1) from error
        raise RuntimeError(f"another process of this run has died{left}") from error


def _differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """Arguments in which two models or their networks differ, such as ": hidden_size is 64 there and 32 here"."""
    own = dict(leaves("", here))
    found = [
        f"{name.replace('.arguments', '')} is {value} there and {own[name]} here"
        for name, value in leaves("", there)
        if own.get(name, value) != value
    ]
    return f": {', '.join(found[:3])}" if found else ""
