"""The textbook pair: a generator and a discriminator made of linear layers.

    G: z 100 → 128 → 256 → 512 → 1024 → 784    LeakyReLU, BatchNorm after all hidden layers but the first, Tanh
    D: 784 → 512 → 256 → 1 logit               LeakyReLU

The game is Goodfellow et al. 2014, "Generative Adversarial Nets" (arXiv 1406.2661); the layers are those of `gan.py` in
PyTorch-GAN, except that D returns logits, so that each loss is free to take the sigmoid inside its logarithm.
"""

from jaxtyping import Float
from torch import Tensor, nn

IMAGE_SHAPE = (1, 28, 28)
PIXELS = 28 * 28
SLOPE = 0.2


class MLPGenerator(nn.Module):
    """Turns noise into images: z `(batch, latent_dim)`, usually from N(0, 1), to `(batch, 1, 28, 28)` in [−1, 1].

    In train mode BatchNorm needs a batch of two or more, and torch raises ValueError for one.

    Raises:
        ValueError: when `latent_dim` is below 1.
    """

    def __init__(self, latent_dim: int = 100) -> None:
        super().__init__()
        if latent_dim < 1:
            raise ValueError(f"latent_dim is {latent_dim}; write a positive number, such as 100")
        self.latent_dim = latent_dim
        self.layers = nn.Sequential(
            nn.Linear(latent_dim, 128),
            nn.LeakyReLU(SLOPE),
            *_normalised(128, 256),
            *_normalised(256, 512),
            *_normalised(512, 1024),
            nn.Linear(1024, PIXELS),
            nn.Tanh(),
        )

    def forward(self, z: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch 1 28 28"]:
        return self.layers(z).unflatten(1, IMAGE_SHAPE)


class MLPDiscriminator(nn.Module):
    """Judges images `(batch, 1, 28, 28)` in [−1, 1]: one logit each, `(batch,)`, positive for "real"."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(PIXELS, 512),
            nn.LeakyReLU(SLOPE),
            nn.Linear(512, 256),
            nn.LeakyReLU(SLOPE),
            nn.Linear(256, 1),
        )

    def forward(self, images: Float[Tensor, "batch 1 28 28"]) -> Float[Tensor, " batch"]:
        return self.layers(images.flatten(1)).squeeze(1)


def _normalised(fan_in: int, fan_out: int) -> tuple[nn.Module, ...]:
    return nn.Linear(fan_in, fan_out), nn.BatchNorm1d(fan_out), nn.LeakyReLU(SLOPE)
