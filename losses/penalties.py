"""Gradient penalties on the discriminator: R1, R2 and WGAN-GP.

Each takes the discriminator's logits and the images they come from, and computes the gradient of each logit with
respect to its image itself. The images must require a gradient before the discriminator sees them:

    images.requires_grad_()
    penalty = r1_penalty(discriminator(images), images)

The result is a scalar without a weight, differentiable with respect to the discriminator's parameters. A compiled
discriminator doesn't support that second derivative.

    r1_penalty        ½ E‖∇D(x)‖²             x: real images               arXiv 1801.04406, eq. 9
    r2_penalty        ½ E‖∇D(G(z))‖²          G(z): generated images       arXiv 1801.04406, eq. 10
    wgan_gp_penalty   E(‖∇D(x̂)‖ − 1)²         x̂: see `interpolates`        arXiv 1704.00028, eq. 3
"""

import torch
from jaxtyping import Float
from torch import Tensor

from losses.gan import Logits, Loss

Images = Float[Tensor, "batch ..."]


def r1_penalty(real_logits: Logits, real_images: Images) -> Loss:
    return _input_gradient(real_logits, real_images).square().sum(1).mean() / 2


def r2_penalty(fake_logits: Logits, fake_images: Images) -> Loss:
    return _input_gradient(fake_logits, fake_images).square().sum(1).mean() / 2


def wgan_gp_penalty(logits: Logits, images: Images) -> Loss:
    norms: Tensor = _input_gradient(logits, images).norm(dim=1)
    return (norms - 1).square().mean()


def interpolates(real: Images, fake: Images, weight: Float[Tensor, " batch"]) -> Images:
    """Returns x̂ = fake + weight · (real − fake) for each pair of images, with a weight in [0, 1] for each.

    WGAN-GP draws the weights from U(0, 1).
    """
    return torch.lerp(fake, real, weight.view(-1, *[1] * (real.ndim - 1)))


def _input_gradient(logits: Logits, images: Images) -> Float[Tensor, "batch pixels"]:
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.flatten(1)
