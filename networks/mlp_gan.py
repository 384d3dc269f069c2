"""An MLP generator and discriminator, the pair of PyTorch-GAN's `gan.py`; the widths are those for 28×28 pixels.

    G: z 100 → 128 → 256 → 512 → 1024 → 784    LeakyReLU, BatchNorm after all hidden layers but the first, Tanh
    D: 784 → 512 → 256 → 1 logit               LeakyReLU

There are two differences from that script. D returns logits, so that each loss can use a numerically stable sigmoid.
BatchNorm's ε is torch's 10⁻⁵; the script writes 0.8, perhaps by mistake for the momentum. GAN training is from
Goodfellow et al. 2014, "Generative Adversarial Nets" (arXiv 1406.2661).
"""

from collections.abc import Sequence
from itertools import pairwise
from math import prod
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from common.arguments import check_choice, check_image_shape, check_positive
from networks.normalisation import add_spectral_norm, linear_norm

SLOPE = 0.2


class MLPGenerator(nn.Module):
    """Turns noise into images: z `(batch, latent_dim)`, usually from N(0, 1), to `(batch, *image_shape)` in [−1, 1].

    In train mode BatchNorm needs a batch of two or more, and torch raises ValueError for one.

    Args:
        latent_dim: length of the noise.
        widths: units of the hidden layers.
        normalisation: after all hidden layers but the first: batch, layer or none.
        image_shape: channels, height and width.

    Raises:
        ValueError: when a size is below 1, there is no hidden layer, or the normalisation is unknown.
    """

    def __init__(
        self,
        latent_dim: int = 100,
        widths: Sequence[int] = (128, 256, 512, 1024),
        normalisation: Literal["batch", "layer", "none"] = "batch",
        image_shape: Sequence[int] = (1, 28, 28),
    ) -> None:
        super().__init__()
        check_choice("normalisation", normalisation, ("batch", "layer", "none"))
        check_positive(latent_dim=latent_dim, widths=widths)
        self.latent_dim = latent_dim
        self.widths = tuple(widths)
        self.normalisation = normalisation
        self.image_shape = check_image_shape("MLPGenerator", image_shape)
        self.layers = nn.Sequential(
            *hidden_layers(latent_dim, self.widths, normalisation),
            nn.Linear(self.widths[-1], prod(self.image_shape)),
            nn.Tanh(),
        )

    def forward(self, z: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch channels height width"]:
        images: Tensor = self.layers(z).unflatten(1, self.image_shape)
        return images


class MLPDiscriminator(nn.Module):
    """Maps images `(batch, *image_shape)` in [−1, 1]: one logit each, `(batch,)`, positive for "real".

    Args:
        widths: units of the hidden layers.
        normalisation: spectral (bounds the network's Lipschitz constant) or none.
        image_shape: channels, height and width.

    Raises:
        ValueError: when a size is below 1, there is no hidden layer, or the normalisation is unknown.
    """

    def __init__(
        self,
        widths: Sequence[int] = (512, 256),
        normalisation: Literal["spectral", "none"] = "none",
        image_shape: Sequence[int] = (1, 28, 28),
    ) -> None:
        super().__init__()
        check_choice("normalisation", normalisation, ("spectral", "none"))
        check_positive(widths=widths)
        self.widths = tuple(widths)
        self.normalisation = normalisation
        self.image_shape = check_image_shape("MLPDiscriminator", image_shape)
        pixels = prod(self.image_shape)
        self.layers = nn.Sequential(*linear_layers((pixels, *self.widths)), nn.Linear(self.widths[-1], 1))
        if normalisation == "spectral":
            add_spectral_norm(self.layers)

    def forward(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, " batch"]:
        logits: Tensor = self.layers(images.flatten(1))
        return logits.squeeze(1)


def hidden_layers(latent_dim: int, widths: Sequence[int], normalisation: str, classes: int = 0) -> list[nn.Module]:
    """The hidden layers of a generator, from noise `(batch, latent_dim)` to `(batch, widths[-1])`."""
    later = linear_layers(widths, normalisation, classes)
    return [nn.Linear(latent_dim, widths[0]), nn.LeakyReLU(SLOPE), *later]


def linear_layers(widths: Sequence[int], normalisation: str = "none", classes: int = 0) -> list[nn.Module]:
    """Linear layers from each width to the next, each with its normalisation and LeakyReLU."""
    return [
        layer
        for fan_in, fan_out in pairwise(widths)
        for layer in (nn.Linear(fan_in, fan_out), *linear_norm(normalisation, fan_out, classes), nn.LeakyReLU(SLOPE))
    ]
