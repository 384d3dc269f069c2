"""What a failed run says: each error becomes one that says in one line what is left and what to do."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from lightning.pytorch import LightningModule

from twofold.checkpoint_io import read_checkpoint
from twofold.errors import UsageError, one_line
from twofold.listing import resume_command
from twofold.ranks import is_rank_zero
from twofold.run_folder import RunFolder

LOST_PROCESS = (
    *("Connection closed by peer", "Connection reset by peer", "Broken pipe"),
    *("Timed out waiting", "Socket Timeout"),
)
"""Parts of torch's messages when another process doesn't answer."""


def raise_explained(error: BaseException, explained: BaseException) -> NoReturn:
    """Raises `explained`, with `error` as its cause if it is another."""
    if explained is error:
        raise error
    raise explained from error


def explain_fit(error: BaseException, folder: RunFolder | None, refused: bool, trained: bool) -> BaseException:
    """Returns the error to raise after `trainer.fit`.

    Args:
        error: what `fit` raised.
        folder: the run's.
        refused: whether the error is about a setting, and came before the first step.
        trained: whether the run has trained a batch, now or before it was resumed.
    """
    newest = next(iter(folder.checkpoints()), None) if folder is not None else None
    left = f"; the last good checkpoint is {newest}" if newest else "; there is no checkpoint yet"
    match error:
        case SystemExit():  # Lightning's reaction to a Ctrl-C that comes before StopOnSignal handles it
            return KeyboardInterrupt()
        case _ if refused:
            return UsageError(one_line(error))
        case FloatingPointError():
            return FloatingPointError(
                f"{error}{left}. The same settings lead to the same end: start a new run, for example with a lower "
                "learning rate or with gradient clipping"
            )
        case OSError() if trained and folder is not None:
            again = f"once that is solved, resume with: {resume_command(folder)}"
            return RuntimeError(f"{one_line(error)}{left}; {again}")
        case RuntimeError():
            return _explain_lost_process(error, left)
    return error


def explain_evaluation(error: RuntimeError, checkpoint: str, module: LightningModule) -> BaseException:
    """Returns the error to raise after `trainer.validate`, `test` or `predict`."""
    if "loading state_dict" not in str(error):
        return _explain_lost_process(error, "")
    saved = read_checkpoint(Path(checkpoint)).get("hyper_parameters", {})
    return UsageError(
        f"the weights in {checkpoint} don't fit the model of this config{_differences(saved, module.hparams)}; "
        "write -c with the config.yaml of the checkpoint's own run"
    )


def _explain_lost_process(error: RuntimeError, left: str) -> BaseException:
    if not any(part in str(error) for part in LOST_PROCESS):
        return error
    # Rank 0 prints the message.
    return SystemExit(1) if not is_rank_zero() else RuntimeError(f"another process of this run has died{left}")


def _differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """The settings in which two models differ, such as ": hidden_size is 64 there and 32 here"."""
    found = [
        f"{name} is {there[name]} there and {here[name]} here"
        for name in here
        if name in there and there[name] != here[name] and isinstance(here[name], int | float | str)
    ]
    return f": {', '.join(found)}" if found else ""
