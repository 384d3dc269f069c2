"""GAN losses, as functions of the discriminator's logits for real images, D(x), and for generated ones, D(G(z)).

A positive logit means "real", and its sigmoid is the estimated probability of that. Each loss is a mean over the
batch, and both networks minimise their own. σ is the sigmoid.

    name            discriminator                                  generator                  source
    minimax         −log σ(D(x)) − log(1 − σ(D(G(z))))             log(1 − σ(D(G(z))))        arXiv 1406.2661, eq. 1
    nonsaturating   the same                                       −log σ(D(G(z)))            arXiv 1406.2661, sect. 3
    hinge           max(0, 1 − D(x)) + max(0, 1 + D(G(z)))         −D(G(z))                   arXiv 1705.02894
    least_squares   ½(D(x) − 1)² + ½D(G(z))²                       ½(D(G(z)) − 1)²            arXiv 1611.04076, eq. 9
    wasserstein     D(G(z)) − D(x)                                 −D(G(z))                   arXiv 1701.07875
    relativistic    −log σ(D(x) − D(G(z)))                         −log σ(D(G(z)) − D(x))     arXiv 1807.00734, eq. 7

The last two depend only on differences between logits. The relativistic loss compares real and generated images pair
by pair, so the generator's loss needs the real logits as well.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Logits = Float[Tensor, " batch"]
Loss = Float[Tensor, ""]


class GANLoss(NamedTuple):
    """The losses of both networks, each a function of `(real, fake)` logits.

    Attributes:
        paired: whether the generator's loss depends on the real logits, which then must come from the updated D.
        relative: whether only differences between logits matter, so that the sign of a logit has no meaning.
    """

    discriminator: Callable[[Logits, Logits], Loss]
    generator: Callable[[Logits, Logits], Loss]
    paired: bool = False
    relative: bool = False


def minimax_discriminator_loss(real: Logits, fake: Logits) -> Loss:
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def minimax_generator_loss(real: Logits, fake: Logits) -> Loss:
    return -F.softplus(fake).mean()


def nonsaturating_generator_loss(real: Logits, fake: Logits) -> Loss:
    return F.softplus(-fake).mean()


def hinge_discriminator_loss(real: Logits, fake: Logits) -> Loss:
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def least_squares_discriminator_loss(real: Logits, fake: Logits) -> Loss:
    return (real - 1).square().mean() / 2 + fake.square().mean() / 2


def least_squares_generator_loss(real: Logits, fake: Logits) -> Loss:
    return (fake - 1).square().mean() / 2


def wasserstein_discriminator_loss(real: Logits, fake: Logits) -> Loss:
    return fake.mean() - real.mean()


def wasserstein_generator_loss(real: Logits, fake: Logits) -> Loss:
    return -fake.mean()


def relativistic_discriminator_loss(real: Logits, fake: Logits) -> Loss:
    return F.softplus(fake - real).mean()


def relativistic_generator_loss(real: Logits, fake: Logits) -> Loss:
    return F.softplus(real - fake).mean()


GAN_LOSSES = {
    "minimax": GANLoss(minimax_discriminator_loss, minimax_generator_loss),
    "nonsaturating": GANLoss(minimax_discriminator_loss, nonsaturating_generator_loss),
    "hinge": GANLoss(hinge_discriminator_loss, wasserstein_generator_loss),
    "least_squares": GANLoss(least_squares_discriminator_loss, least_squares_generator_loss),
    "wasserstein": GANLoss(wasserstein_discriminator_loss, wasserstein_generator_loss, relative=True),
    "relativistic": GANLoss(relativistic_discriminator_loss, relativistic_generator_loss, paired=True, relative=True),
}


def accuracies(real: Logits, fake: Logits, gan_loss: GANLoss) -> tuple[Loss, Loss]:
    """The discriminator's accuracy on real and on fake images, each in [0, 1].

    The threshold is 0, or the midpoint of the two mean logits where only differences between logits matter.
    """
    threshold = (real.mean() + fake.mean()) / 2 if gan_loss.relative else real.new_zeros(())
    return (real > threshold).float().mean(), (fake < threshold).float().mean()
