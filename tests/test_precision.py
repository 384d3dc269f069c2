"""What precisions and compiling go with, and what comes of them."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn

from datamodules import MNISTDataModule, PalindromeDataModule
from lightning_modules import GAN, DigitClassifier, PalindromeLSTM, PalindromeRNN
from networks.classifiers import DigitCNN, DigitReader
from networks.mlp_gan import MLPDiscriminator, MLPGenerator

MakeTrainer = Callable[..., Trainer]


@pytest.fixture(autouse=True)
def _seed_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PL_GLOBAL_SEED", "3")


def game(**arguments: Any) -> GAN:
    torch.manual_seed(0)
    sgd = partial(torch.optim.SGD, lr=0.01)  # Adam's first steps blow rounding up
    return GAN(MLPGenerator(latent_dim=5), MLPDiscriminator(), sgd, sgd, **arguments)


class Losses(Callback):
    """Keeps the precision of every loss."""

    def __init__(self) -> None:
        self.precisions: set[torch.dtype] = set()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any) -> None:
        self.precisions |= {outputs[name].dtype for name in outputs if "loss" in name or "penalty" in name}


@pytest.mark.parametrize(
    "arguments",
    [
        {"loss": "minimax"},
        {"loss": "relativistic", "r1": 1.0, "r2": 1.0, "ema_decay": 0.9},
        {"loss": "wasserstein", "gradient_penalty": 10.0, "diffaugment_translation": 1},
    ],
)
def test_a_game_in_bfloat16_takes_losses_and_keeps_weights_in_32_bits(
    plain_trainer: MakeTrainer, digits: MNISTDataModule, arguments: dict[str, Any]
) -> None:
    gan, losses = game(**arguments), Losses()
    plain_trainer(max_steps=3, precision="bf16-mixed", callbacks=[losses]).fit(gan, datamodule=digits)
    assert losses.precisions == {torch.float32}
    assert {parameter.dtype for parameter in gan.parameters()} == {torch.float32}
    assert all(parameter.isfinite().all() for parameter in gan.parameters())


def test_a_network_in_bfloat16_computes_so(plain_trainer: MakeTrainer, digits: MNISTDataModule) -> None:
    gan = game()
    made: list[torch.dtype] = []
    gan.generator.register_forward_hook(lambda *_: made.append(_[2].dtype))
    plain_trainer(max_steps=1, precision="bf16-mixed").fit(gan, datamodule=digits)
    assert made == [torch.bfloat16]


@pytest.mark.parametrize("module", [PalindromeLSTM, PalindromeRNN])
def test_palindromes_in_bfloat16_are_clipped_with_a_fused_optimizer(
    plain_trainer: MakeTrainer, module: type[PalindromeLSTM | PalindromeRNN]
) -> None:
    norms: list[float] = []

    class Norms(Callback):
        def on_before_zero_grad(self, trainer: Trainer, pl_module: LightningModule, optimizer: Any) -> None:
            gradients = [p.grad for p in pl_module.parameters() if p.grad is not None]
            if gradients:
                norms.append(float(nn.utils.get_total_norm(gradients)))

    def adam(parameters: Any) -> torch.optim.Optimizer:
        return torch.optim.Adam(parameters, fused=True)

    trainer = plain_trainer(max_steps=3, precision="bf16-mixed", gradient_clip_val=1e-3, callbacks=[Norms()])
    trainer.fit(module(8, optimizer=adam), datamodule=PalindromeDataModule(6, batch_size=4))
    assert norms == [pytest.approx(1e-3, rel=1e-2)] * len(norms)
    assert norms


def is_compiled(network: nn.Module) -> bool:
    return network._compiled_call_impl is not None


@pytest.mark.parametrize(("penalties", "discriminator"), [({}, True), ({"r1": 1.0}, False), ({"r2": 1.0}, False)])
def test_the_generator_is_compiled_and_the_discriminator_unless_it_is_penalised(
    plain_trainer: MakeTrainer, digits: MNISTDataModule, penalties: dict[str, float], discriminator: bool
) -> None:
    plain, compiled = game(**penalties), game(**penalties)
    compiled.compile(backend="eager")  # which runs the traced code as it is
    assert is_compiled(compiled.generator)
    assert is_compiled(compiled.discriminator) == discriminator
    for gan in (plain, compiled):
        plain_trainer(max_steps=3).fit(gan, datamodule=digits)
    assert compiled.state_dict().keys() == plain.state_dict().keys()
    torch.testing.assert_close(dict(compiled.state_dict()), dict(plain.state_dict()), rtol=1e-3, atol=1e-4)


def test_a_judge_is_compiled() -> None:
    module = DigitClassifier(DigitCNN())
    module.compile(backend="eager")
    assert is_compiled(module.network)


@pytest.mark.parametrize("module", [PalindromeLSTM(4), PalindromeRNN(4), DigitClassifier(DigitReader())])
def test_nothing_recurrent_is_compiled(module: LightningModule) -> None:
    with pytest.raises(ValueError, match="gains nothing; leave compile out"):
        module.compile()
