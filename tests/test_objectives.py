"""The players' objectives, against the sigmoids and logarithms of the paper written out."""

import math

import pytest
import torch
from torch import Tensor

from networks.objectives import discriminator_loss, nonsaturating_loss

REAL, FAKE = [0.3, -1.2, 2.5], [2.0, -0.7, 0.1]


def sigmoid(logit: float) -> float:
    return 1 / (1 + math.exp(-logit))


def logits(values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


def test_the_discriminators_loss_and_its_gradient() -> None:
    real, fake = logits(REAL), logits(FAKE)
    loss = discriminator_loss(real, fake)
    loss.backward()
    by_hand = -sum(map(math.log, map(sigmoid, REAL))) / 3 - sum(math.log(1 - sigmoid(logit)) for logit in FAKE) / 3
    assert loss.item() == pytest.approx(by_hand, abs=1e-12)
    assert real.grad is not None
    assert fake.grad is not None
    assert real.grad.tolist() == pytest.approx([(sigmoid(logit) - 1) / 3 for logit in REAL], abs=1e-12)
    assert fake.grad.tolist() == pytest.approx([sigmoid(logit) / 3 for logit in FAKE], abs=1e-12)


def test_the_generators_loss_and_its_gradient() -> None:
    fake = logits(FAKE)
    loss = nonsaturating_loss(fake)
    loss.backward()
    assert loss.item() == pytest.approx(-sum(map(math.log, map(sigmoid, FAKE))) / 3, abs=1e-12)
    assert fake.grad is not None
    assert fake.grad.tolist() == pytest.approx([(sigmoid(logit) - 1) / 3 for logit in FAKE], abs=1e-12)


def test_a_verdict_that_is_surely_wrong_costs_its_logit_and_one_that_is_surely_right_nothing() -> None:
    sure = torch.tensor([1e4], requires_grad=True)
    assert discriminator_loss(-sure, sure).item() == 2e4
    assert discriminator_loss(sure, -sure).item() == 0
    assert nonsaturating_loss(sure).item() == 0
    loss = nonsaturating_loss(-sure)
    loss.backward()
    assert loss.item() == 1e4
    assert sure.grad is not None
    assert sure.grad.item() == 1  # however badly G does, it learns
