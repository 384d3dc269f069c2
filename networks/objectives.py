"""What the two players of the game want, as functions of the discriminator's logits.

A logit is the discriminator's belief before the sigmoid: above 0 it takes an image for real. Source: Goodfellow et al.
2014, "Generative Adversarial Nets", https://arxiv.org/abs/1406.2661.
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def discriminator_loss(real: Float[Tensor, " batch"], fake: Float[Tensor, " batch"]) -> Float[Tensor, ""]:
    """−log D(x) − log(1 − D(G(z))), the mean over the batch: binary cross-entropy on real and fake (equation 1)."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def nonsaturating_loss(fake: Float[Tensor, " batch"]) -> Float[Tensor, ""]:
    """−log D(G(z)), the mean over the batch: the generator's loss that doesn't saturate early on (section 3)."""
    return F.softplus(-fake).mean()
