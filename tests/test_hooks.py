"""Hooks that do nothing are skipped, those that do something are called."""

import gc
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import LearningRateMonitor

from callbacks import Timer
from datamodules import PalindromeDataModule
from lightning_modules import PalindromeLSTM
from twofold.csv_logger import CSVLogger
from twofold.hooks import SkipEmptyHooks
from twofold.main import main, without_garbage_collection

MakeTrainer = Callable[..., Trainer]


class Counting(Callback):
    """Defines two hooks of a batch; the others are inherited."""

    def __init__(self) -> None:
        self.called: list[str] = []

    def on_train_batch_start(self, *_: Any) -> None:
        self.called.append("on_train_batch_start")

    def on_after_backward(self, *_: Any) -> None:
        self.called.append("on_after_backward")


def weights(trainer: Trainer) -> torch.Tensor:
    torch.manual_seed(1)
    module, data = PalindromeLSTM(4), PalindromeDataModule(5, 8)
    data.load_state_dict({"seed": 1})
    trainer.fit(module, data)
    return torch.cat([weight.flatten() for weight in module.parameters()])


def test_only_our_callbacks_that_inherit_a_hook_are_skipped(plain_trainer: MakeTrainer, tmp_path: Path) -> None:
    ours, lightnings, users = Timer(), LearningRateMonitor(), Counting()
    callbacks = [ours, lightnings, users, SkipEmptyHooks()]
    expected = weights(plain_trainer(max_steps=3))
    found = weights(plain_trainer(max_steps=3, logger=CSVLogger(str(tmp_path)), callbacks=callbacks))
    assert torch.equal(found, expected)
    assert users.called == 3 * ["on_train_batch_start", "on_after_backward"]
    assert users.on_train_batch_end is not None
    for hook in ("on_before_zero_grad", "on_before_backward", "on_after_backward", "on_before_optimizer_step"):
        assert getattr(ours, hook) is None
        assert getattr(lightnings, hook) is None
    assert vars(ours)["on_train_batch_start"] is None
    assert vars(lightnings)["on_train_batch_end"] is None
    assert ours.on_train_batch_end is not None
    assert lightnings.on_train_batch_start is not None


def test_a_hook_that_users_replace_while_training_is_called(plain_trainer: MakeTrainer) -> None:
    called: list[str] = []

    class Replacing(Callback):
        def on_train_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
            inner = pl_module.on_before_zero_grad

            def wrapped(optimizer: Any) -> None:
                called.append("module")
                inner(optimizer)

            pl_module.on_before_zero_grad = wrapped
            Replacing.on_after_backward = lambda *_: called.append("callback")  # type: ignore[method-assign]

    trainer = plain_trainer(max_steps=2, callbacks=[SkipEmptyHooks(), Replacing()])
    trainer.fit(PalindromeLSTM(4), PalindromeDataModule(5, 8))
    assert called == 2 * ["module", "callback"]


def test_the_command_skips_empty_hooks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWOFOLD_RUNS", str(tmp_path))
    monkeypatch.setenv("WANDB_MODE", "disabled")
    found = []
    monkeypatch.setattr(Timer, "on_train_end", lambda self, *_: found.append(self.on_before_backward))
    assert main(["fit", "-c", "palindrome_lstm", "--trainer.max_steps", "1", "--data.length", "4"]) == 0
    assert found == [None]


def test_modules_are_imported_without_the_garbage_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch")
    with without_garbage_collection():
        assert not gc.isenabled()
    assert gc.isenabled()
    assert gc.get_freeze_count() > 0
    with pytest.raises(ModuleNotFoundError), without_garbage_collection():
        import_module("nowhere")
    assert gc.isenabled()
    gc.unfreeze()


@pytest.mark.parametrize(("command", "imported"), [("fit", ["wandb.apis.public"]), ("validate", [])])
def test_wandb_is_imported_before_torch(monkeypatch: pytest.MonkeyPatch, command: str, imported: list[str]) -> None:
    found: list[str] = []
    monkeypatch.setattr("twofold.main.import_module", found.append)
    monkeypatch.setitem(sys.modules, "twofold.lightning_cli", None)  # its import, which imports torch, fails
    assert main([command]) == 1
    assert found == imported


def test_where_torch_is_imported_the_garbage_collector_stays() -> None:
    with without_garbage_collection():
        assert gc.isenabled()
    assert gc.get_freeze_count() == 0
