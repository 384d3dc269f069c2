"""No weight moves by a number that isn't finite, on the CPU and where reading is dear."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

from callbacks import Checkpoints
from datamodules import MNISTDataModule, PalindromeDataModule
from lightning_modules import GAN, PalindromeLSTM, nan_check
from lightning_modules.nan_check import NaNCheck, NonFiniteError
from networks.mlp_gan import MLPDiscriminator, MLPGenerator

MakeTrainer = Callable[..., Trainer]
BAD = [float("nan"), float("inf"), -float("inf")]
FUSED = pytest.param(lambda p: torch.optim.Adam(p, lr=0.1, fused=True), id="fused")
UNFUSED = pytest.param(lambda p: torch.optim.Adam(p, lr=0.1), id="unfused")


@pytest.fixture(autouse=True)
def _same_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PL_GLOBAL_SEED", "7")


@pytest.fixture
def dear(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the CPU were a device on which each look at a number waits."""
    monkeypatch.setattr(nan_check, "read_is_slow", lambda device: True)


class Reached(Callback):
    """Counts the batches that were trained."""

    batches = 0

    def on_train_batch_end(self, *_: Any) -> None:
        self.batches += 1


class Spoiled(PalindromeLSTM):
    """Meets a bad number in the batch after `spoiled_after` batches."""

    spoiled_after: int
    what: str
    bad = float("nan")

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> dict[str, Tensor]:
        outcome = super().training_step(batch, batch_idx)
        if self.trainer.global_step == self.spoiled_after and self.what == "loss":
            outcome["loss"] = outcome["loss"] * self.bad
        return outcome

    def on_after_backward(self) -> None:
        if self.trainer.global_step == self.spoiled_after and self.what == "gradient":
            gradient = self.readout.bias.grad
            assert gradient is not None
            gradient[3] = self.bad


def spoiled(what: str, after: int, optimizer: Any, bad: float = float("nan")) -> Spoiled:
    torch.manual_seed(0)
    module = Spoiled(hidden_size=4, optimizer=optimizer)
    module.what, module.spoiled_after, module.bad = what, after, bad
    return module


def fit(make: MakeTrainer, module: LightningModule, steps: int, *callbacks: Any, **more: Any) -> None:
    trainer = make(
        max_steps=steps,
        callbacks=list(callbacks),
        enable_checkpointing=any(isinstance(one, Checkpoints) for one in callbacks),
        **more,
    )
    trainer.fit(module, datamodule=PalindromeDataModule(length=5, batch_size=4))


def weights(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def assert_equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("optimizer", [FUSED, UNFUSED])
def test_a_bad_gradient_stops_training_before_a_weight_moves(
    plain_trainer: MakeTrainer, optimizer: Any, bad: float
) -> None:
    untouched = spoiled("nothing", 0, optimizer)
    fit(plain_trainer, untouched, 3)
    module = spoiled("gradient", 3, optimizer, bad)
    with pytest.raises(NonFiniteError, match=r"^after 3 batches the gradient of readout\.bias is not finite$"):
        fit(plain_trainer, module, 9)
    assert_equal(weights(module), weights(untouched))


@pytest.mark.parametrize(("bad", "said"), [(BAD[0], "nan"), (BAD[1], "inf")])
def test_a_bad_loss_stops_training_before_it_goes_backward(plain_trainer: MakeTrainer, bad: float, said: str) -> None:
    module = spoiled("loss", 2, torch.optim.Adam, bad)
    with pytest.raises(NonFiniteError, match=f"^after 2 batches the loss is {said}$"):
        fit(plain_trainer, module, 9)


def test_large_but_finite_gradients_are_none_of_its_business() -> None:
    module = nn.Linear(2, 1)
    module.weight.grad = torch.full_like(module.weight, 3e38)
    for waits in (False, True):
        guard = NaNCheck()
        guard.waits = waits
        guard.gradients(module, torch.optim.Adam(module.parameters(), fused=True))
        guard.read()


@pytest.mark.usefixtures("dear")
@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_on_a_device_the_flag_masks_all_later_steps_and_is_read_every_50_batches(
    plain_trainer: MakeTrainer, what: str
) -> None:
    optimizer = FUSED.values[0]
    untouched = spoiled("nothing", 0, optimizer)
    fit(plain_trainer, untouched, 60)
    module = spoiled(what, 60, optimizer)
    reached = Reached()
    with pytest.raises(NonFiniteError, match=r"^after 60 batches a loss or a gradient is not finite$"):
        fit(plain_trainer, module, 500, reached)
    assert reached.batches == 100
    assert_equal(weights(module), weights(untouched))


@pytest.mark.usefixtures("dear")
def test_an_optimizer_that_cannot_be_masked_is_checked_at_each_step(plain_trainer: MakeTrainer) -> None:
    untouched = spoiled("nothing", 0, UNFUSED.values[0])
    fit(plain_trainer, untouched, 7)
    module = spoiled("gradient", 7, UNFUSED.values[0])
    reached = Reached()
    with pytest.raises(NonFiniteError, match=r"^after 7 batches"):
        fit(plain_trainer, module, 500, reached)
    assert reached.batches == 7
    assert_equal(weights(module), weights(untouched))


@pytest.mark.usefixtures("dear")
def test_no_checkpoint_is_written_after_the_first_bad_batch(plain_trainer: MakeTrainer, tmp_path: Any) -> None:
    with pytest.raises(NonFiniteError, match=r"^after 12 batches"):
        fit(plain_trainer, spoiled("gradient", 12, FUSED.values[0]), 500, Checkpoints(every_n_train_steps=5))
    kept = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert kept == ["last.ckpt", "step=000005.ckpt", "step=000010.ckpt"]


@pytest.mark.usefixtures("dear")
def test_a_run_that_ends_between_two_looks_is_looked_at_when_it_ends(plain_trainer: MakeTrainer) -> None:
    with pytest.raises(NonFiniteError, match=r"^after 2 batches"):
        fit(plain_trainer, spoiled("gradient", 2, FUSED.values[0]), 4)


@pytest.mark.usefixtures("dear")
def test_on_a_device_an_average_stands_still_too(plain_trainer: MakeTrainer, digits: MNISTDataModule) -> None:
    def game() -> GAN:
        torch.manual_seed(0)
        adam: Any = lambda p: torch.optim.Adam(p, lr=0.01, fused=True)  # noqa: E731
        return GAN(MLPGenerator(5, (8,)), MLPDiscriminator((8,)), adam, adam, ema_decay=0.5)

    untouched = game()
    plain_trainer(max_steps=3).fit(untouched, datamodule=digits)
    module = game()
    handle = next(module.generator.parameters()).register_hook(
        lambda gradient: gradient * float("nan") if module.guard.batches == 3 else gradient
    )
    with pytest.raises(NonFiniteError, match=r"^after 3 batches"):
        plain_trainer(max_steps=9).fit(module, datamodule=digits)
    handle.remove()
    assert untouched.ema is not None
    assert module.ema is not None
    assert_equal(weights(untouched.generator), weights(module.generator))
    assert_equal(weights(untouched.ema.module), weights(module.ema.module))


def test_weights_that_a_step_too_large_has_spoiled_are_not_saved(plain_trainer: MakeTrainer, tmp_path: Any) -> None:
    module = spoiled("nothing", 0, lambda p: torch.optim.SGD(p, lr=float("inf")))
    with pytest.raises(NonFiniteError, match=r"^after 1 batch network\.weight_ih_l0 is not finite$"):
        fit(plain_trainer, module, 9, Checkpoints(every_n_train_steps=1))
    assert not list((tmp_path / "checkpoints").glob("*"))


def test_a_gradient_scaler_may_meet_infinite_gradients(plain_trainer: MakeTrainer) -> None:
    module = spoiled("gradient", 1, torch.optim.SGD, float("inf"))
    trainer = plain_trainer(max_steps=2)
    trainer.precision_plugin.scaler = object()  # type: ignore[attr-defined]
    trainer.fit(module, datamodule=PalindromeDataModule(length=5, batch_size=4))
    assert trainer.global_step == 2


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_on_a_gpu_the_flag_stays_there(plain_trainer: MakeTrainer) -> None:
    module = spoiled("gradient", 60, FUSED.values[0])
    with pytest.raises(NonFiniteError, match=r"^after 60 batches"):
        fit(plain_trainer, module, 500, accelerator="gpu")
    assert module.guard.stopped.device.type == "cuda"
    assert all(tensor.isfinite().all() for tensor in module.state_dict().values())
