"""Arguments, networks and batches that the GAN refuses."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from lightning.pytorch import Trainer
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from datamodules import MNISTDataModule
from lightning_modules import GAN
from networks.mlp_gan import MLPDiscriminator, MLPGenerator

MakeTrainer = Callable[..., Trainer]


def make_gan(**arguments: Any) -> GAN:
    return GAN(MLPGenerator(latent_dim=5, widths=[16, 32]), MLPDiscriminator([32, 16]), **arguments)


INVALID: list[tuple[dict[str, Any], str]] = [
    ({"loss": "bce"}, "loss is 'bce'; write one of minimax, nonsaturating, hinge, least_squares, wasserstein, relat"),
    ({"matmul_precision": "low"}, "matmul_precision is 'low'; write one of highest, high, medium"),
    ({"r1": -1.0}, "r1 is -1.0; write a weight of 0 or more"),
    ({"r2": float("nan")}, "r2 is nan; write a weight of 0 or more"),
    ({"gradient_penalty": float("inf")}, "gradient_penalty is inf; write a weight of 0 or more"),
    ({"d_reg_interval": 1.5}, "d_reg_interval is 1.5; write 1 for every batch, or a larger whole number"),
    ({"n_critic": 0}, "n_critic is 0; write 1 for every batch, or a larger whole number"),
    ({"diffaugment_translation": -1}, "diffaugment_translation is -1; write a whole number of pixels"),
    (
        {"diffaugment_translation": 28},
        "diffaugment_translation is 28, which can shift images of 28 pixels out of sight",
    ),
    ({"ema_decay": 0.0}, "ema_decay is 0.0; write a number between 0 and 1"),
    ({"ema_decay": float("nan")}, "ema_decay is nan; write a number between 0 and 1"),
    ({"r2": 1.0, "gradient_penalty": 10.0}, "gradient_penalty pulls the norm .* to 1, r2 to 0; set one of them to 0"),
    ({"loss": "wasserstein"}, "the wasserstein loss is unbounded unless .* set gradient_penalty to 10"),
    (
        {"generator_lr_scheduler": partial(ReduceLROnPlateau, patience=3)},
        "generator_lr_scheduler steps with every batch, so it can't be ReduceLROnPlateau",
    ),
]


@pytest.mark.parametrize(("arguments", "message"), INVALID)
@pytest.mark.usefixtures("unchecked")
def test_invalid_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_gan(**arguments)


class FixedSize(nn.Module):
    latent_dim = 5

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.shape = shape
        self.layer = nn.Linear(5, math.prod(shape))

    def forward(self, z: Tensor) -> Tensor:
        images: Tensor = self.layer(z).unflatten(1, self.shape)
        return images


def with_layer(layer: nn.Module) -> MLPDiscriminator:
    discriminator = MLPDiscriminator([8])
    discriminator.layers.insert(1, layer)
    return discriminator


NETWORKS: list[tuple[nn.Module, nn.Module, dict[str, Any], str]] = [
    (nn.Linear(5, 784), MLPDiscriminator([8]), {}, "Linear needs a whole number `latent_dim`"),
    (FixedSize(1, 9, 9), MLPDiscriminator([8]), {}, "MLPDiscriminator and FixedSize don't fit: .* images of 1 × 9 × 9"),
    (
        MLPGenerator(5, [8]),
        nn.Sequential(nn.Flatten(), nn.Linear(784, 1)),
        {},
        r"for 2 images the discriminator returns \(2, 1\); return one logit each",
    ),
    (
        MLPGenerator(5, [8]),
        nn.Sequential(nn.Flatten(), nn.Linear(784, 1), nn.Flatten(0), nn.Sigmoid()),
        {},
        "the discriminator ends in a sigmoid, which the losses contain",
    ),
    *(
        (MLPGenerator(5, [8]), with_layer(nn.BatchNorm1d(8)), {penalty: 1.0}, f"{penalty} needs .* BatchNorm mixes")
        for penalty in ("r1", "r2", "gradient_penalty")
    ),
]


@pytest.mark.parametrize(("generator", "discriminator", "arguments", "message"), NETWORKS)
@pytest.mark.usefixtures("unchecked")
def test_networks_that_do_not_fit_are_refused(
    generator: nn.Module, discriminator: nn.Module, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        GAN(generator, discriminator, **arguments)


def test_wasserstein_needs_every_layer_normalised() -> None:
    discriminator = MLPDiscriminator([8])
    for layer in ("layers.0", "layers.2"):
        with pytest.raises(ValueError, match="the wasserstein loss is unbounded"):
            GAN(MLPGenerator(5, [8]), discriminator, loss="wasserstein")
        nn.utils.parametrizations.spectral_norm(discriminator.get_submodule(layer))
    GAN(MLPGenerator(5, [8]), discriminator, loss="wasserstein")
    make_gan(loss="wasserstein", gradient_penalty=10.0)


@pytest.mark.usefixtures("unchecked")
def test_batches_that_do_not_fit_are_refused(plain_trainer: MakeTrainer, digits: MNISTDataModule) -> None:
    lone = MNISTDataModule(source="packaged", batch_size=1333, train_on_validation=True)  # 3 × 1,333 + 1 = 4,000
    with pytest.raises(
        ValueError, match="BatchNorm needs at least 2 images, and this batch has 1; choose a batch_size"
    ):
        plain_trainer(4).fit(make_gan(), datamodule=lone)
    discriminator = nn.Sequential(nn.Flatten(), nn.Linear(81, 1), nn.Flatten(0))
    with pytest.raises(ValueError, match="the generator makes images of 1 × 9 × 9 and the data's are 1 × 28 × 28"):
        plain_trainer(1).fit(GAN(FixedSize(1, 9, 9), discriminator), datamodule=digits)
