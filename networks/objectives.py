"""What the two players of the game want, as functions of the discriminator's logits D(x) and D(G(z)).

Above 0 the discriminator takes an image for real, and the sigmoid of a logit is how likely it thinks that. Losses are
means over the batch, and both players minimise theirs.

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

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Logits = Float[Tensor, " batch"]
Loss = Float[Tensor, ""]


class Objective(NamedTuple):
    """The losses of both players, each of `(real, fake)` logits.

    Attributes:
        paired: whether the generator's loss looks at the real logits, which then have to be those of D as it is now.
        relative: whether only differences between logits mean anything, so that 0 is no border.
    """

    discriminator: Callable[[Logits, Logits], Loss]
    generator: Callable[[Logits, Logits], Loss]
    paired: bool = False
    relative: bool = False


def cross_entropy(real: Logits, fake: Logits) -> Loss:
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def saturating(real: Logits, fake: Logits) -> Loss:
    return -F.softplus(fake).mean()


def nonsaturating(real: Logits, fake: Logits) -> Loss:
    return F.softplus(-fake).mean()


def hinge(real: Logits, fake: Logits) -> Loss:
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def least_squares(real: Logits, fake: Logits) -> Loss:
    return (real - 1).square().mean() / 2 + fake.square().mean() / 2


def least_squares_generator(real: Logits, fake: Logits) -> Loss:
    return (fake - 1).square().mean() / 2


def critic(real: Logits, fake: Logits) -> Loss:
    return fake.mean() - real.mean()


def higher(real: Logits, fake: Logits) -> Loss:
    return -fake.mean()


def relativistic(real: Logits, fake: Logits) -> Loss:
    return F.softplus(fake - real).mean()


def relativistic_generator(real: Logits, fake: Logits) -> Loss:
    return F.softplus(real - fake).mean()


OBJECTIVES = {
    "minimax": Objective(cross_entropy, saturating),
    "nonsaturating": Objective(cross_entropy, nonsaturating),
    "hinge": Objective(hinge, higher),
    "least_squares": Objective(least_squares, least_squares_generator),
    "wasserstein": Objective(critic, higher, relative=True),
    "relativistic": Objective(relativistic, relativistic_generator, paired=True, relative=True),
}


def accuracies(real: Logits, fake: Logits, objective: Objective) -> tuple[Loss, Loss]:
    """The shares, in [0, 1], of real and of fake images that the discriminator takes for what they are.

    The border lies at 0 or, where 0 means nothing, halfway between the means of the two.
    """
    border = (real.mean() + fake.mean()) / 2 if objective.relative else real.new_zeros(())
    return (real > border).float().mean(), (fake < border).float().mean()


def input_gradient(logits: Logits, images: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch ..."]:
    """∇ₓD(x) of each image, for penalties, hence differentiable; `images` require a gradient."""
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient


def zero_centred_penalty(gradient: Float[Tensor, "batch ..."]) -> Loss:
    """½‖∇D(x)‖²: R1 on real images, R2 on generated ones (arXiv 1801.04406, eq. 9 and 10, without γ)."""
    return gradient.flatten(1).square().sum(1).mean() / 2


def one_centred_penalty(gradient: Float[Tensor, "batch ..."]) -> Loss:
    """(‖∇D(x̂)‖ − 1)², on images between real and generated ones (arXiv 1704.00028, eq. 3, without λ)."""
    norms: Tensor = gradient.flatten(1).norm(dim=1)
    return (norms - 1).square().mean()


def between(
    real: Float[Tensor, "batch ..."], fake: Float[Tensor, "batch ..."], share: Float[Tensor, " batch"]
) -> Float[Tensor, "batch ..."]:
    """x̂, a point on the line from a fake (share 0) to a real image (share 1), for each image of the batch."""
    return torch.lerp(fake, real, share.view(-1, *[1] * (real.ndim - 1)))
