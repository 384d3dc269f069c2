"""An MLP generator and discriminator, the pair of PyTorch-GAN's `gan.py`.

    G: z 100 → 128 → 256 → 512 → 1024 → 784    LeakyReLU, BatchNorm after all hidden layers but the first, Tanh
    D: 784 → 512 → 256 → 1 logit               LeakyReLU

There are two differences from that script. D returns logits, so that each loss can use a numerically stable sigmoid.
BatchNorm's ε is torch's 10⁻⁵; the script writes 0.8, perhaps by mistake for the momentum. GAN training is from
Goodfellow et al. 2014, "Generative Adversarial Nets" (arXiv 1406.2661).
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from common.arguments import check_choice, check_positive
from networks.normalisation import add_spectral_norm, linear_norm

IMAGE_SHAPE = (1, 28, 28)
PIXELS = 28 * 28
SLOPE = 0.2


class MLPGenerator(nn.Module):
    """Turns noise into images: z `(batch, latent_dim)`, usually from N(0, 1), to `(batch, 1, 28, 28)` in [−1, 1].

    In train mode BatchNorm needs a batch of two or more, and torch raises ValueError for one.

    Args:
        latent_dim: length of the noise.
        widths: units of the hidden layers.
        normalisation: after all hidden layers but the first: batch, layer or none.

    Raises:
        ValueError: when a size is below 1, there is no hidden layer, or the normalisation is unknown.
    """

    def __init__(
        self,
        latent_dim: int = 100,
        widths: Sequence[int] = (128, 256, 512, 1024),
        normalisation: Literal["batch", "layer", "none"] = "batch",
    ) -> None:
        super().__init__()
        check_choice("normalisation", normalisation, ("batch", "layer", "none"))
        check_positive(latent_dim=latent_dim, widths=widths)
        self.latent_dim = latent_dim
        self.widths = tuple(widths)
        self.normalisation = normalisation
        self.layers = nn.Sequential(
            *hidden_layers(latent_dim, self.widths, normalisation),
            nn.Linear(self.widths[-1], PIXELS),
            nn.Tanh(),
        )

    def forward(self, z: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch 1 28 28"]:
        images: Tensor = self.layers(z).unflatten(1, IMAGE_SHAPE)
        return images


class MLPDiscriminator(nn.Module):
    """Maps images `(batch, 1, 28, 28)` in [−1, 1]: one logit each, `(batch,)`, positive for "real".

    Args:
        widths: units of the hidden layers.
        normalisation: spectral (bounds the network's Lipschitz constant) or none.

    Raises:
        ValueError: when a width is below 1, there is none, or the normalisation is unknown.
    """

    def __init__(self, widths: Sequence[int] = (512, 256), normalisation: Literal["spectral", "none"] = "none") -> None:
        super().__init__()
        check_choice("normalisation", normalisation, ("spectral", "none"))
        check_positive(widths=widths)
        self.widths = tuple(widths)
        self.normalisation = normalisation
        self.layers = nn.Sequential(*linear_layers((PIXELS, *self.widths)), nn.Linear(self.widths[-1], 1))
        if normalisation == "spectral":
            add_spectral_norm(self.layers)

    def forward(self, images: Float[Tensor, "batch 1 28 28"]) -> Float[Tensor, " batch"]:
        logits: Tensor = self.layers(images.flatten(1))
        return logits.squeeze(1)


def hidden_layers(latent_dim: int, widths: Sequence[int], normalisation: str) -> list[nn.Module]:
    """The hidden layers of a generator, from noise `(batch, latent_dim)` to `(batch, widths[-1])`."""
    later = linear_layers(widths, normalisation)
    return [nn.Linear(latent_dim, widths[0]), nn.LeakyReLU(SLOPE), *later]


def linear_layers(widths: Sequence[int], normalisation: str = "none") -> list[nn.Module]:
    """Linear layers from each width to the next, each with its normalisation and LeakyReLU."""
    return [
        layer
        for fan_in, fan_out in pairwise(widths)
        for layer in (nn.Linear(fan_in, fan_out), *linear_norm(normalisation, fan_out), nn.LeakyReLU(SLOPE))
    ]
