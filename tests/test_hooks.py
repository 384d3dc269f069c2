"""Hooks that do nothing are skipped, those that do something are called."""

import gc
import sys
from collections.abc import Callable
from types import MethodType
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer

from datamodules import PalindromeDataModule
from lightning_modules import PalindromeLSTM
from twofold.hooks import HOOKS, SkipEmptyHooks
from twofold.main import without_garbage_collection

MakeTrainer = Callable[..., Trainer]


class Counting(Callback):
    """Defines two hooks of a batch; the others are inherited."""

    def __init__(self) -> None:
        self.called: list[str] = []

    def on_train_batch_start(self, *_: Any) -> None:
        self.called.append("on_train_batch_start")

    def on_after_backward(self, *_: Any) -> None:
        self.called.append("on_after_backward")


class Inheriting(Counting):
    """Defines none, and inherits what `Counting` defines."""


def weights(trainer: Trainer) -> torch.Tensor:
    torch.manual_seed(1)
    module, data = PalindromeLSTM(4), PalindromeDataModule(5, 8)
    data.load_state_dict({"seed": 1})
    trainer.fit(module, data)
    return torch.cat([weight.flatten() for weight in module.parameters()])


def test_only_inherited_hooks_are_skipped(plain_trainer: MakeTrainer) -> None:
    callbacks = [Counting(), Inheriting(), Callback()]
    expected = weights(plain_trainer(max_steps=3))
    found = weights(plain_trainer(max_steps=3, callbacks=[*callbacks, SkipEmptyHooks()]))
    assert torch.equal(found, expected)
    for callback in callbacks[:2]:
        assert isinstance(callback, Counting)
        assert callback.called == 3 * ["on_train_batch_start", "on_after_backward"]
        assert callback.on_train_batch_end is None
    assert all(getattr(callbacks[2], hook) is None for hook in HOOKS)


def test_a_hook_that_was_set_on_the_module_is_called(plain_trainer: MakeTrainer) -> None:
    called = []
    module = PalindromeLSTM(4)
    module.on_before_zero_grad = MethodType(lambda self, optimizer: called.append(optimizer), module)  # type: ignore[method-assign]
    plain_trainer(max_steps=2, callbacks=[SkipEmptyHooks()]).fit(module, PalindromeDataModule(5, 8))
    assert len(called) == 2
    assert module.on_after_backward is None


def test_modules_are_imported_without_the_garbage_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch")
    with without_garbage_collection():
        assert not gc.isenabled()
    assert gc.isenabled()
    assert gc.get_freeze_count() > 0
    gc.unfreeze()


def test_where_torch_is_imported_the_garbage_collector_stays() -> None:
    with without_garbage_collection():
        assert gc.isenabled()
    assert gc.get_freeze_count() == 0
