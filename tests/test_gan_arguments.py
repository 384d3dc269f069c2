"""Arguments and networks that the GAN refuses."""

from typing import Any

import pytest
from torch import nn

from lightning_modules import GAN
from networks.mlp_gan import MLPDiscriminator, MLPGenerator

INVALID: list[tuple[dict[str, Any], str]] = [
    ({"loss": "bce"}, "loss is 'bce'; write one of minimax, nonsaturating, hinge, least_squares, wasserstein, relat"),
    ({"matmul_precision": "low"}, "matmul_precision is 'low'; write one of highest, high, medium"),
    ({"r1": -1.0}, "r1 is -1.0; write a weight of 0 or more"),
    ({"r2": float("nan")}, "r2 is nan; write a weight of 0 or more"),
    ({"gradient_penalty": float("inf")}, "gradient_penalty is inf; write a weight of 0 or more"),
    ({"d_reg_interval": 0}, "d_reg_interval is 0; write 1 or more"),
    ({"n_critic": 0}, "n_critic is 0; write 1 or more"),
    ({"diffaugment_translation": -1}, "diffaugment_translation is -1; write 0 to 27 pixels"),
    ({"diffaugment_translation": 28}, "diffaugment_translation is 28; write 0 to 27 pixels"),
    ({"ema_decay": 0.0}, "ema_decay is 0.0; write a number between 0 and 1"),
    ({"ema_decay": float("nan")}, "ema_decay is nan; write a number between 0 and 1"),
    ({"loss": "wasserstein"}, "the wasserstein loss is unbounded unless .* set gradient_penalty to 10"),
]


@pytest.mark.parametrize(("arguments", "message"), INVALID)
def test_invalid_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GAN(MLPGenerator(5, [8]), MLPDiscriminator([8]), **arguments)


@pytest.mark.parametrize("bounded", [{"gradient_penalty": 10.0}, {"normalisation": "spectral"}])
def test_a_bounded_gradient_allows_the_wasserstein_loss(bounded: dict[str, Any]) -> None:
    penalty = {"gradient_penalty": bounded.pop("gradient_penalty", 0.0)}
    GAN(MLPGenerator(5, [8]), MLPDiscriminator([8], **bounded), loss="wasserstein", **penalty)


def ending_in(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 1), *layers)


NETWORKS: list[tuple[nn.Module, nn.Module, str]] = [
    (nn.Linear(5, 784), MLPDiscriminator([8]), "Linear needs a whole number `latent_dim`"),
    (
        MLPGenerator(5, [8]),
        nn.Sequential(nn.Flatten(), nn.Linear(81, 1)),
        r"Sequential doesn't accept the input shape \(2, 1, 28, 28\): mat1 and mat2",
    ),
    (MLPGenerator(5, [8]), ending_in(), r"for 2 images Sequential returns \(2, 1\); return one logit each"),
    (MLPGenerator(5, [8]), ending_in(nn.Flatten(0), nn.Sigmoid()), "the discriminator ends in a sigmoid, which the"),
]


@pytest.mark.parametrize(("generator", "discriminator", "message"), NETWORKS)
def test_networks_that_do_not_fit_are_refused(generator: nn.Module, discriminator: nn.Module, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GAN(generator, discriminator)


@pytest.mark.parametrize("penalty", ["r1", "r2", "gradient_penalty"])
def test_penalties_with_batchnorm_are_refused(penalty: str) -> None:
    arguments: dict[str, Any] = {penalty: 1.0}
    discriminator = ending_in(nn.BatchNorm1d(1), nn.Flatten(0))
    GAN(MLPGenerator(5, [8]), discriminator)
    with pytest.raises(ValueError, match=f"{penalty} needs the gradient of each image, .* BatchNorm mixes"):
        GAN(MLPGenerator(5, [8]), discriminator, **arguments)
