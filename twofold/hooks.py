"""Saves the time that Lightning takes in each batch for hooks that do nothing and for contexts that measure nothing."""

from contextlib import AbstractContextManager, nullcontext

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.profilers import PassThroughProfiler

HOOKS = (
    "on_train_batch_start",
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
    "on_train_batch_end",
)
_NOTHING = nullcontext()


class Unprofiled(PassThroughProfiler):
    """Measures nothing. Unlike Lightning's own it doesn't make a context for each of a batch's 150 hooks."""

    def profile(self, action_name: str) -> AbstractContextManager[None]:  # type: ignore[override]
        return _NOTHING


class SkipEmptyHooks(Callback):
    """Sets the hooks of a batch that our callbacks and Lightning's inherit unchanged to None, which Lightning skips.

    The module, and callbacks of users, are left alone: they may call each other's hooks, or replace them while they
    train.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for callback in trainer.callbacks:  # type: ignore[attr-defined]  # Lightning sets it elsewhere
            if type(callback).__module__.partition(".")[0] in ("callbacks", "twofold", "lightning"):
                for hook in HOOKS:
                    if getattr(getattr(callback, hook), "__func__", None) is getattr(Callback, hook):
                        setattr(callback, hook, None)
