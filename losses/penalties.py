"""Gradient penalties on the discriminator: R1, R2 and that of WGAN-GP."""

import torch
from jaxtyping import Float
from torch import Tensor

from losses.gan import Logits, Loss


def input_gradient(logits: Logits, images: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch ..."]:
    """∇ₓD(x) of each image, for penalties, hence differentiable; `images` require a gradient."""
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient


def r1_penalty(gradient: Float[Tensor, "batch ..."]) -> Loss:
    """½‖∇D(x)‖²: R1 on real images, R2 on generated ones (arXiv 1801.04406, eq. 9 and 10, without γ)."""
    return gradient.flatten(1).square().sum(1).mean() / 2


def wgan_gp_penalty(gradient: Float[Tensor, "batch ..."]) -> Loss:
    """(‖∇D(x̂)‖ − 1)², on images between real and generated ones (arXiv 1704.00028, eq. 3, without λ)."""
    norms: Tensor = gradient.flatten(1).norm(dim=1)
    return (norms - 1).square().mean()


def interpolates(
    real: Float[Tensor, "batch ..."], fake: Float[Tensor, "batch ..."], share: Float[Tensor, " batch"]
) -> Float[Tensor, "batch ..."]:
    """x̂, a point on the line from a fake (share 0) to a real image (share 1), for each image of the batch."""
    return torch.lerp(fake, real, share.view(-1, *[1] * (real.ndim - 1)))
