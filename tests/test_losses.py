"""GAN losses and gradient penalties against the papers' equations in plain Python."""

import math
from collections.abc import Callable
from statistics import mean

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from losses.gan import GAN_LOSSES, accuracies
from losses.penalties import interpolates, r1_penalty, r2_penalty, wgan_gp_penalty

REAL, FAKE = [0.3, -1.2, 2.5], [2.0, -0.7, 0.1]
PAIRS = list(zip(REAL, FAKE, strict=True))


def sigmoid(logit: float) -> float:
    return 1 / (1 + math.exp(-logit))


def logits(values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


def cross_entropy() -> float:
    return -mean(math.log(sigmoid(x)) for x in REAL) - mean(math.log(1 - sigmoid(x)) for x in FAKE)


DISCRIMINATORS: dict[str, Callable[[], float]] = {
    "minimax": cross_entropy,
    "nonsaturating": cross_entropy,
    "hinge": lambda: mean(max(0, 1 - x) for x in REAL) + mean(max(0, 1 + x) for x in FAKE),
    "least_squares": lambda: mean((x - 1) ** 2 / 2 for x in REAL) + mean(x**2 / 2 for x in FAKE),
    "wasserstein": lambda: mean(FAKE) - mean(REAL),
    "relativistic": lambda: -mean(math.log(sigmoid(x - y)) for x, y in PAIRS),
}
GENERATORS: dict[str, Callable[[], float]] = {
    "minimax": lambda: mean(math.log(1 - sigmoid(x)) for x in FAKE),
    "nonsaturating": lambda: -mean(math.log(sigmoid(x)) for x in FAKE),
    "hinge": lambda: -mean(FAKE),
    "least_squares": lambda: mean((x - 1) ** 2 / 2 for x in FAKE),
    "wasserstein": lambda: -mean(FAKE),
    "relativistic": lambda: -mean(math.log(sigmoid(y - x)) for x, y in PAIRS),
}


@pytest.mark.parametrize("name", DISCRIMINATORS)
def test_losses_equal_the_papers_formulas(name: str) -> None:
    real, fake = logits(REAL), logits(FAKE)
    assert GAN_LOSSES[name].discriminator(real, fake).item() == pytest.approx(DISCRIMINATORS[name](), abs=1e-12)
    assert GAN_LOSSES[name].generator(real, fake).item() == pytest.approx(GENERATORS[name](), abs=1e-12)


@pytest.mark.parametrize("name", GAN_LOSSES)
def test_only_a_paired_generator_loss_depends_on_real_logits(name: str) -> None:
    loss = GAN_LOSSES[name]
    with_real, with_fake = (loss.generator(logits(values), logits(FAKE)).item() for values in (REAL, FAKE))
    assert (with_real != with_fake) is loss.paired


@pytest.mark.parametrize("name", ["minimax", "nonsaturating", "relativistic"])
def test_losses_stay_finite_at_large_logits(name: str) -> None:
    sure = torch.tensor([1e4], requires_grad=True)
    loss = GAN_LOSSES[name].discriminator
    assert loss(-sure, sure).item() == 2e4
    assert loss(sure, -sure).item() == 0


SLOPES: dict[str, tuple[Callable[[float, float], float], Callable[[float, float], float], Callable[..., float]]] = {
    "minimax": (lambda x, y: sigmoid(x) - 1, lambda x, y: sigmoid(y), lambda x, y: -sigmoid(y)),
    "nonsaturating": (lambda x, y: sigmoid(x) - 1, lambda x, y: sigmoid(y), lambda x, y: sigmoid(y) - 1),
    "hinge": (lambda x, y: -float(x < 1), lambda x, y: float(y > -1), lambda x, y: -1),
    "least_squares": (lambda x, y: x - 1, lambda x, y: y, lambda x, y: y - 1),
    "wasserstein": (lambda x, y: -1, lambda x, y: 1, lambda x, y: -1),
    "relativistic": (lambda x, y: sigmoid(x - y) - 1, lambda x, y: sigmoid(y - x), lambda x, y: sigmoid(y - x) - 1),
}
"""The derivatives of D's loss by D(x) and by D(G(z)), and of G's loss by D(G(z)), for a batch of one pair."""


@pytest.mark.parametrize("name", SLOPES)
def test_derivatives_equal_the_formulas(name: str) -> None:
    real, fake = logits(REAL), logits(FAKE)
    loss = GAN_LOSSES[name]
    by_discriminator = torch.autograd.grad(loss.discriminator(real, fake), (real, fake))
    by_generator = torch.autograd.grad(loss.generator(real, fake), fake)
    found = (*by_discriminator, *by_generator)
    for gradient, slope in zip(found, SLOPES[name], strict=True):
        assert gradient.tolist() == pytest.approx([slope(x, y) / len(PAIRS) for x, y in PAIRS], abs=1e-12)


def test_accuracy_threshold_is_zero_or_the_midpoint_of_the_means() -> None:
    real, fake = torch.tensor([3.0, 1.0, -1.0, 5.0]), torch.tensor([-3.0, 0.5, -1.0, -0.5])
    assert [float(x) for x in accuracies(real, fake, GAN_LOSSES["hinge"])] == [0.75, 0.75]
    for name in ("wasserstein", "relativistic"):
        # Shifted by 10, all logits are positive. The threshold is 10.5, the midpoint of 12 and 9.
        assert [float(x) for x in accuracies(real + 10, fake + 10, GAN_LOSSES[name])] == [0.75, 0.75]


class Quadratic(nn.Module):
    """D(x) = ½ x·Ax, whose gradient is Ax."""

    def __init__(self, pixels: int) -> None:
        super().__init__()
        square = torch.randn(pixels, pixels, dtype=torch.float64)
        self.A = nn.Parameter(square + square.T)

    def forward(self, images: Tensor) -> Tensor:
        x = images.flatten(1)
        return (x @ self.A * x).sum(1) / 2


@given(st.integers(1, 4), st.integers(1, 3))
def test_penalties_and_their_gradients(batch: int, side: int) -> None:
    torch.manual_seed(batch)
    D = Quadratic(side * side)
    images = torch.randn(batch, 1, side, side, dtype=torch.float64, requires_grad=True)
    x = images.detach().flatten(1)
    gradient = x @ D.A.detach()
    norms = gradient.norm(dim=1)
    for penalty in (r1_penalty, r2_penalty):
        loss = penalty(D(images), images)
        assert loss.item() == pytest.approx((norms**2).mean().item() / 2)
        # With Ax for ½(A + Aᵀ)x, the derivative of ½‖Ax‖² by A is ½(Ax xᵀ + x (Ax)ᵀ).
        (by_weight,) = torch.autograd.grad(loss, D.A)
        torch.testing.assert_close(by_weight, (x.T @ gradient + gradient.T @ x) / (2 * batch))
    assert wgan_gp_penalty(D(images), images).item() == pytest.approx(((norms - 1) ** 2).mean().item())


def test_interpolates() -> None:
    real, fake = torch.ones(3, 1, 2, 2), torch.zeros(3, 1, 2, 2)
    mixed = interpolates(real, fake, torch.tensor([0.0, 0.25, 1.0]))
    assert mixed[:, 0, 0, 0].tolist() == [0, 0.25, 1]
    assert mixed.flatten(1).std(dim=1).tolist() == [0, 0, 0]
