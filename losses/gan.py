"""What the two networks of the game want, as functions of the discriminator's logits D(x) and D(G(z)).

Above 0 the discriminator takes an image for real, and the sigmoid of a logit is how likely it thinks that. Losses are
means over the batch, and both networks minimise theirs.

    name            discriminator                                  generator                  source
    minimax         −log σ(D(x)) − log(1 − σ(D(G(z))))             log(1 − σ(D(G(z))))        arXiv 1406.2661, eq. 1
    nonsaturating   the same                                       −log σ(D(G(z)))            arXiv 1406.2661, sect. 3
    hinge           max(0, 1 − D(x)) + max(0, 1 + D(G(z)))         −D(G(z))                   arXiv 1705.02894
    least_squares   ½(D(x) − 1)² + ½D(G(z))²                       ½(D(G(z)) − 1)²            arXiv 1611.04076, eq. 9
    wasserstein     D(G(z)) − D(x)                                 −D(G(z))                   arXiv 1701.07875
    relativistic    −log σ(D(x) − D(G(z)))                         −log σ(D(G(z)) − D(x))     arXiv 1807.00734, eq. 7

To the last two only differences between logits mean anything. The relativistic one compares the images of a batch pair
by pair, so its generator needs the real ones, too.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Logits = Float[Tensor, " batch"]
Loss = Float[Tensor, ""]


class GANLoss(NamedTuple):
    """The losses of both networks, each of `(real, fake)` logits.

    Attributes:
        paired: whether the generator's loss looks at the real logits, which then have to be those of D as it is now.
        relative: whether only differences between logits mean anything, so that 0 is no border.
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
    """The shares, in [0, 1], of real and of fake images that the discriminator takes for what they are.

    The border lies at 0 or, where 0 means nothing, halfway between the means of the two.
    """
    border = (real.mean() + fake.mean()) / 2 if gan_loss.relative else real.new_zeros(())
    return (real > border).float().mean(), (fake < border).float().mean()
