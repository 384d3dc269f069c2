"""The NaN check: no parameter changes by a number that isn't finite on the CPU, and no such checkpoint is written."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

from callbacks import Checkpoints
from datamodules import PalindromeDataModule
from lightning_modules import PalindromeLSTM
from lightning_modules.base import NonFiniteError

MakeTrainer = Callable[..., Trainer]


pytestmark = pytest.mark.usefixtures("run_seed")


@pytest.fixture
def accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes modules say that they are on a GPU, so that they check only the batches that are logged."""
    monkeypatch.setattr(PalindromeLSTM, "device", torch.device("cuda"))
    monkeypatch.setattr("lightning_modules.base.reseed", lambda seed, device: torch.manual_seed(seed))


class Spoiled(PalindromeLSTM):
    """Meets `bad` as its loss or in its gradient, in the batch after `after` batches."""

    def __init__(self, what: str, after: int, bad: float = float("nan"), optimizer: Any = torch.optim.Adam) -> None:
        torch.manual_seed(0)
        super().__init__(hidden_size=4, optimizer=optimizer)
        self.what, self.after, self.bad = what, after, bad

    def training_step(self, batch: Any, batch_idx: int) -> dict[str, Tensor]:
        outputs = super().training_step(batch, batch_idx)
        if self.what == "loss" and self.trainer.global_step == self.after:
            outputs["loss"] = outputs["loss"] * self.bad
        return outputs

    def on_after_backward(self) -> None:
        if self.what == "gradient" and self.trainer.global_step == self.after:
            assert self.readout.bias.grad is not None
            self.readout.bias.grad[3] = self.bad


def fit(make: MakeTrainer, module: LightningModule, steps: int, *callbacks: Callback, **settings: Any) -> Trainer:
    checkpointing = any(isinstance(one, Checkpoints) for one in callbacks)
    trainer = make(steps, callbacks=list(callbacks), enable_checkpointing=checkpointing, **settings)
    trainer.fit(module, datamodule=PalindromeDataModule(length=5, batch_size=4))
    return trainer


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_no_weight_changes_by_a_bad_number(plain_trainer: MakeTrainer, what: str, bad: float) -> None:
    untouched, module = Spoiled("nothing", 0), Spoiled(what, 3, bad)
    fit(plain_trainer, untouched, 3)
    said = r"the gradient of readout\.bias is not finite" if what == "gradient" else f"the loss is {bad}"
    with pytest.raises(NonFiniteError, match=f"^after 3 batches {said}$"):
        fit(plain_trainer, module, 9)
    for name, weight in untouched.state_dict().items():
        assert weight.equal(module.state_dict()[name]), name


def test_large_finite_gradients_are_no_error(plain_trainer: MakeTrainer) -> None:
    module = Spoiled("gradient", 1, 3e38, torch.optim.SGD)
    assert fit(plain_trainer, module, 2, gradient_clip_val=1.0).global_step == 2  # though their norm overflows


@pytest.mark.usefixtures("accelerator")
@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_an_accelerator_is_checked_at_logged_batches(plain_trainer: MakeTrainer, what: str) -> None:
    with pytest.raises(NonFiniteError, match=r"^after 10 batches "):
        fit(plain_trainer, Spoiled(what, 6), 500, log_every_n_steps=5)


@pytest.mark.usefixtures("accelerator")
def test_no_bad_checkpoint_is_written(plain_trainer: MakeTrainer, tmp_path: Path) -> None:
    with pytest.raises(NonFiniteError, match=r"^after 15 batches "):
        fit(plain_trainer, Spoiled("gradient", 12), 500, Checkpoints(every_n_train_steps=5), log_every_n_steps=100)
    kept = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert kept == ["last.ckpt", "step=000005.ckpt", "step=000010.ckpt"]


def test_weights_spoiled_by_too_large_a_step_are_not_saved(plain_trainer: MakeTrainer, tmp_path: Path) -> None:
    module = Spoiled("nothing", 0, optimizer=lambda p: torch.optim.SGD(p, lr=float("inf")))
    with pytest.raises(NonFiniteError, match=r"^after 1 batch network\.weight_ih_l0 is not finite$"):
        fit(plain_trainer, module, 9, Checkpoints(every_n_train_steps=1))
    assert not list((tmp_path / "checkpoints").glob("*"))


def test_a_gradient_scaler_may_meet_infinite_gradients(plain_trainer: MakeTrainer) -> None:
    trainer = plain_trainer(2)
    trainer.precision_plugin.scaler = object()  # type: ignore[attr-defined]
    trainer.fit(Spoiled("gradient", 1, float("inf"), torch.optim.SGD), datamodule=PalindromeDataModule(5, batch_size=4))
    assert trainer.global_step == 2


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_is_checked_at_logged_batches(plain_trainer: MakeTrainer) -> None:
    module = Spoiled("gradient", 6)
    with pytest.raises(NonFiniteError, match=r"^after 10 batches"):
        fit(plain_trainer, module, 500, accelerator="gpu", log_every_n_steps=5)
    assert nn.utils.get_total_norm(module.parameters()).isnan()
