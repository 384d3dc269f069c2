"""Mixed precision and compiled networks."""

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn

from datamodules import MNISTDataModule, PalindromeDataModule
from lightning_modules import GAN, DigitClassifier, PalindromeLSTM, PalindromeRNN
from networks.classifiers import DigitCNN
from networks.mlp_gan import MLPDiscriminator, MLPGenerator
from twofold.config_checks import _check_precision
from twofold.errors import UsageError

MakeTrainer = Callable[..., Trainer]


pytestmark = pytest.mark.usefixtures("run_seed")


def make_gan(**arguments: Any) -> GAN:
    torch.manual_seed(0)
    sgd = partial(torch.optim.SGD, lr=0.01)  # Adam would scale up rounding in its first steps
    return GAN(MLPGenerator(5, [16, 32]), MLPDiscriminator([16]), sgd, sgd, **arguments)


class LossTypes(Callback):
    """Keeps the dtype of every loss."""

    def __init__(self) -> None:
        self.seen: set[torch.dtype] = set()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any) -> None:
        self.seen |= {loss.dtype for loss in outputs.values()}


@pytest.mark.parametrize(
    "arguments",
    [
        {"loss": "relativistic", "r1": 1.0, "r2": 1.0, "ema_decay": 0.9},
        {"loss": "wasserstein", "gradient_penalty": 10.0, "diffaugment_translation": 1},
    ],
)
def test_mixed_precision_keeps_losses_and_weights_in_float32(
    plain_trainer: MakeTrainer, digits: MNISTDataModule, arguments: dict[str, Any]
) -> None:
    gan, losses = make_gan(**arguments), LossTypes()
    computed: set[torch.dtype] = set()
    gan.generator.register_forward_hook(lambda *_: computed.add(_[2].dtype))
    trainer = plain_trainer(3, precision="bf16-mixed", callbacks=[losses], limit_val_batches=0)
    trainer.fit(gan, datamodule=digits)
    assert computed == {torch.bfloat16}
    assert losses.seen == {weight.dtype for weight in gan.parameters()} == {torch.float32}
    assert all(weight.isfinite().all() for weight in gan.parameters())


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_gradients_of_fused_optimizers_are_clipped(plain_trainer: MakeTrainer, precision: Any) -> None:
    module = PalindromeLSTM(8, optimizer=partial(torch.optim.Adam, fused=True))
    trainer = plain_trainer(3, precision=precision, gradient_clip_val=1e-3, limit_val_batches=0)
    trainer.fit(module, datamodule=PalindromeDataModule(6, batch_size=4))
    gradients = [weight.grad for weight in module.parameters() if weight.grad is not None]
    assert float(nn.utils.get_total_norm(gradients)) == pytest.approx(1e-3, rel=1e-2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        *(
            ({f"model.init_args.{name}": 1.0}, f"too coarse for the gradients that {name} needs; write bf16-mixed")
            for name in ("r1", "r2", "gradient_penalty")
        ),
        ({"model.init_args.optimizer.init_args.fused": True, "trainer.gradient_clip_val": 1.0}, "a fused optimizer"),
        ({"trainer.accelerator": "cpu"}, "16-mixed needs a GPU"),
        ({"model.init_args.r1": 0.0, "model.init_args.optimizer.init_args.fused": True}, None),
        ({"model.init_args.optimizer.init_args.fused": False, "trainer.gradient_clip_val": 1.0}, None),
    ],
)
def test_16_mixed_is_refused_where_results_would_be_wrong(settings: dict[str, Any], message: str | None) -> None:
    given = {"trainer.precision": "16-mixed", "trainer.accelerator": "gpu", "trainer.gradient_clip_val": None}
    with pytest.raises(UsageError, match=message) if message else nullcontext():
        _check_precision({**given, **settings})


def is_compiled(network: nn.Module) -> bool:
    return network._compiled_call_impl is not None


@pytest.mark.parametrize(("penalties", "discriminator"), [({}, True), ({"r1": 1.0}, False), ({"r2": 1.0}, False)])
def test_a_discriminator_with_a_penalty_is_not_compiled(
    plain_trainer: MakeTrainer, digits: MNISTDataModule, penalties: dict[str, float], discriminator: bool
) -> None:
    plain, compiled = make_gan(**penalties), make_gan(**penalties)
    compiled.compile(backend="eager")  # runs the traced code as it is
    assert is_compiled(compiled.generator)
    assert is_compiled(compiled.discriminator) == discriminator
    for gan in (plain, compiled):
        plain_trainer(3, limit_val_batches=0).fit(gan, datamodule=digits)
    torch.testing.assert_close(dict(compiled.state_dict()), dict(plain.state_dict()), rtol=1e-3, atol=1e-4)


def test_only_palindrome_modules_refuse_to_be_compiled(plain_trainer: MakeTrainer, digits: MNISTDataModule) -> None:
    classifier = DigitClassifier(DigitCNN())
    classifier.compile(backend="eager")
    assert is_compiled(classifier.network)
    plain_trainer(1, limit_val_batches=0).fit(classifier, datamodule=digits)
    for module in (PalindromeLSTM(4), PalindromeRNN(4)):
        with pytest.raises(ValueError, match="gains nothing; leave compile out"):
            module.compile()
