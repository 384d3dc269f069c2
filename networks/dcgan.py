"""A convolutional generator and discriminator, after DCGAN (Radford et al. 2015, arXiv 1511.06434).

    G: z 100 → 128×7×7 → 64×14×14 → 1×28×28      transposed convolutions; BatchNorm and ReLU, Tanh at the end
    D: 1×28×28 → 64×14×14 → 128×7×7 → 1 logit    convolutions with stride 2; LeakyReLU, BatchNorm after the second

The sizes are those for images of 28×28 pixels; others have the same layers. Initial weights are drawn from N(0, 0.02²),
as in the paper.
"""

from collections.abc import Sequence
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from common.arguments import check_choice, check_image_shape, check_positive
from networks.normalisation import add_spectral_norm, image_norm

SLOPE = 0.2
INITIAL_STD = 0.02


class DCGANGenerator(nn.Module):
    """Turns noise into images: z `(batch, latent_dim)`, usually from N(0, 1), to `(batch, *image_shape)` in [−1, 1].

    Args:
        latent_dim: length of the noise.
        channels: of the last hidden layer; the one before has twice as many.
        normalisation: batch or none.
        image_shape: channels, height and width; the last two are multiples of 4.

    Raises:
        ValueError: when a size is below 1 or no multiple of 4, or the normalisation is unknown.
    """

    def __init__(
        self,
        latent_dim: int = 100,
        channels: int = 64,
        normalisation: Literal["batch", "none"] = "batch",
        image_shape: Sequence[int] = (1, 28, 28),
    ) -> None:
        super().__init__()
        check_choice("normalisation", normalisation, ("batch", "none"))
        check_positive(latent_dim=latent_dim, channels=channels)
        self.latent_dim = latent_dim
        self.channels = channels
        self.normalisation = normalisation
        self.image_shape = check_image_shape("DCGANGenerator", image_shape, multiple=4)
        image_channels, height, width = self.image_shape
        bias = normalisation == "none"
        self.layers = nn.Sequential(
            nn.Linear(latent_dim, 2 * channels * (height // 4) * (width // 4), bias=bias),
            nn.Unflatten(1, (2 * channels, height // 4, width // 4)),
            *image_norm(normalisation, 2 * channels),
            nn.ReLU(),
            # (batch, c, height / 2, width / 2)
            nn.ConvTranspose2d(2 * channels, channels, kernel_size=4, stride=2, padding=1, bias=bias),
            *image_norm(normalisation, channels),
            nn.ReLU(),
            nn.ConvTranspose2d(channels, image_channels, kernel_size=4, stride=2, padding=1),
            nn.Tanh(),
        )
        self.layers.apply(_initialise)

    def forward(self, z: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch channels height width"]:
        images: Tensor = self.layers(z)
        return images


class DCGANDiscriminator(nn.Module):
    """Maps images `(batch, *image_shape)` in [−1, 1]: one logit each, `(batch,)`, positive for "real".

    Args:
        channels: of the first layer; the second has twice as many.
        normalisation: batch (as in the paper), spectral (bounds the network's Lipschitz constant) or none.
        image_shape: channels, height and width; the last two are multiples of 4.

    Raises:
        ValueError: when a size is below 1 or no multiple of 4, or the normalisation is unknown.
    """

    def __init__(
        self,
        channels: int = 64,
        normalisation: Literal["batch", "spectral", "none"] = "batch",
        image_shape: Sequence[int] = (1, 28, 28),
    ) -> None:
        super().__init__()
        check_choice("normalisation", normalisation, ("batch", "spectral", "none"))
        check_positive(channels=channels)
        self.channels = channels
        self.normalisation = normalisation
        self.image_shape = check_image_shape("DCGANDiscriminator", image_shape, multiple=4)
        image_channels, height, width = self.image_shape
        self.layers = nn.Sequential(
            # (batch, c, height / 2, width / 2)
            nn.Conv2d(image_channels, channels, kernel_size=4, stride=2, padding=1),
            nn.LeakyReLU(SLOPE),
            # (batch, 2c, height / 4, width / 4)
            nn.Conv2d(channels, 2 * channels, kernel_size=4, stride=2, padding=1, bias=normalisation != "batch"),
            *image_norm(normalisation, 2 * channels),
            nn.LeakyReLU(SLOPE),
            nn.Flatten(),
            nn.Linear(2 * channels * (height // 4) * (width // 4), 1),
        )
        self.layers.apply(_initialise)
        if normalisation == "spectral":
            add_spectral_norm(self.layers)

    def forward(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, " batch"]:
        logits: Tensor = self.layers(images)
        return logits.squeeze(1)


def _initialise(layer: nn.Module) -> None:
    if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(layer.weight, std=INITIAL_STD)
    elif isinstance(layer, nn.BatchNorm2d):
        nn.init.normal_(layer.weight, mean=1, std=INITIAL_STD)
