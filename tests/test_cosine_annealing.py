"""Annealed settings of GAN training: their values, in a resumed run too, and what is refused."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from callbacks import CosineAnnealing
from lightning_modules import GAN, PalindromeLSTM
from networks.mlp_gan import MLPDiscriminator, MLPGenerator

Fit = Callable[..., Trainer]

ADAM = partial(torch.optim.Adam, lr=1e-3, betas=(0.0, 0.9))


def make_gan(optimizer: Any = ADAM, r1: float = 0.0, r2: float = 0.0) -> GAN:
    torch.manual_seed(0)
    generator, discriminator = MLPGenerator(latent_dim=5, widths=[16, 32]), MLPDiscriminator([32, 16])
    return GAN(generator, discriminator, optimizer, optimizer, r1=r1, r2=r2)


class Values(Callback):
    """Notes the settings of each batch."""

    def __init__(self) -> None:
        self.penalties: list[tuple[float, float]] = []
        self.betas: list[tuple[float, float]] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        assert isinstance(pl_module, GAN)
        self.penalties.append((pl_module.r1, pl_module.r2))
        betas = {group["betas"] for optimizer in trainer.optimizers for group in optimizer.param_groups}
        self.betas.append(*betas)


def test_values_follow_half_a_cosine_and_stay_at_its_end(fit: Fit) -> None:
    values = Values()
    annealing = CosineAnnealing(4, penalty_factor=0.5, beta2=0.99)
    fit(make_gan(r1=2.0, r2=2.0), annealing, values, max_steps=6)
    slope = (1 - 0.5**0.5) / 2  # a quarter of the way
    expected = [2.0, 2.0 - slope, 1.5, 1.0 + slope, 1.0, 1.0]
    assert values.penalties == [pytest.approx((weight, weight)) for weight in expected]
    assert values.betas == [pytest.approx((0.0, 0.99 - 0.09 * (weight - 1))) for weight in expected]


def test_annealing_changes_what_is_trained(fit: Fit) -> None:
    constant, annealed = make_gan(r1=2.0, r2=2.0), make_gan(r1=2.0, r2=2.0)
    fit(constant, max_steps=3)
    fit(annealed, CosineAnnealing(3, penalty_factor=0.05), max_steps=3)
    first, second = constant.discriminator.state_dict(), annealed.discriminator.state_dict()
    assert not any(torch.equal(first[name], second[name]) for name in first)


def test_resumed_run_has_the_same_bits(fit: Fit, tmp_path: Path) -> None:
    annealing = partial(CosineAnnealing, 5, penalty_factor=0.1, beta2=0.99)
    whole, resumed = make_gan(r1=2.0, r2=2.0), make_gan(r1=2.0, r2=2.0)
    fit(whole, annealing(), max_steps=6)
    trainer = fit(make_gan(r1=2.0, r2=2.0), annealing(), max_steps=2)
    trainer.save_checkpoint(tmp_path / "part.ckpt")
    values = Values()
    fit(resumed, annealing(), values, max_steps=6, ckpt_path=tmp_path / "part.ckpt")
    assert len(values.betas) == 4
    for name, weights in whole.state_dict().items():
        assert torch.equal(weights, resumed.state_dict()[name])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batches": 0, "beta2": 0.99}, "batches is 0"),
        ({"batches": 5}, "nothing to change"),
        ({"batches": 5, "penalty_factor": 0.0}, "a number above 0"),
        ({"batches": 5, "penalty_factor": -1.0}, "a number above 0"),
        ({"batches": 5, "penalty_factor": float("inf")}, "a number above 0"),
        ({"batches": 5, "beta2": 1.0}, "from 0 to below 1"),
        ({"batches": 5, "beta2": -0.1}, "from 0 to below 1"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CosineAnnealing(**arguments)


@pytest.mark.parametrize("make", [PalindromeLSTM, make_gan])
def test_module_without_penalties_is_refused(plain_trainer: Fit, make: Callable[[], LightningModule]) -> None:
    with pytest.raises(ValueError, match=r"r1 and r2, and this \w+ has neither; write r1 or r2 above 0"):
        CosineAnnealing(5, penalty_factor=0.1).on_train_start(plain_trainer(), make())


def test_penalty_that_the_module_lacks_stays_off(fit: Fit) -> None:
    values = Values()
    fit(make_gan(r1=2.0), CosineAnnealing(2, penalty_factor=0.5), values, max_steps=3)
    assert values.penalties == [(2.0, 0.0), (1.5, 0.0), (1.0, 0.0)]


def test_each_penalty_begins_with_its_own_weight_in_another_fit_too(fit: Fit) -> None:
    gan, values = make_gan(r1=2.0, r2=4.0), Values()
    for _ in range(2):
        fit(gan, CosineAnnealing(2, penalty_factor=0.5), values, max_steps=3)
    assert values.penalties == [(2.0, 4.0), (1.5, 3.0), (1.0, 2.0)] * 2


def test_optimizer_without_betas_is_refused(fit: Fit) -> None:
    with pytest.raises(ValueError, match="β₂, which SGD doesn't have; use Adam"):
        fit(make_gan(partial(torch.optim.SGD, lr=0.1)), CosineAnnealing(5, beta2=0.99))
