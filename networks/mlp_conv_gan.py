"""The pair of `gan.yaml`: an MLP with a transposed-convolution head, and a small pixel-unshuffle CNN.

    G: z 16 → 256 → 512 → 512 → 4×14×14 → 1×28×28           linear layers, then a transposed convolution; LeakyReLU,
                                                            BatchNorm after all hidden layers but the first, Tanh
    D: 1×28×28 → 8×14×14 → 16×7×7 → 128 → 1 logit           3×3 convolutions, each after a pixel unshuffle; LeakyReLU

The search of `docs/results.md` chose this pair over the MLP pair and a small DCGAN. No experiment compares its parts:

- The head shares its 4×4 kernels between all positions. In the MLP each pixel is an output of its own.
- D standardises its input with the mean and standard deviation of MNIST's pixels, most of which are background, −1.

A pixel unshuffle moves 2×2 pixels into channels, so D's 3×3 convolutions see 6×6 pixels with stride 2. After the search
it replaced 5×5 convolutions with stride 2.
"""

from collections.abc import Sequence
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from common.arguments import check_choice, check_positive
from networks.mlp_gan import SLOPE, hidden_layers

SIDE = 14
MNIST_MEAN, MNIST_STD = 2 * 0.1307 - 1, 2 * 0.3081
"""Mean and standard deviation of the training images' pixels: the usual numbers for [0, 1], here for [−1, 1]."""


class MLPConvGenerator(nn.Module):
    """Turns noise into images: z `(batch, latent_dim)`, usually from N(0, 1), to `(batch, 1, 28, 28)` in [−1, 1].

    In train mode BatchNorm needs a batch of two or more, and torch raises ValueError for one.

    Args:
        latent_dim: length of the noise.
        widths: units of the hidden layers.
        channels: of the 14×14 feature map that the transposed convolution turns into an image.
        normalisation: after all hidden layers but the first: batch, layer or none.

    Raises:
        ValueError: when a size is below 1, there is no hidden layer, or the normalisation is unknown.
    """

    def __init__(
        self,
        latent_dim: int = 16,
        widths: Sequence[int] = (256, 512, 512),
        channels: int = 4,
        normalisation: Literal["batch", "layer", "none"] = "batch",
    ) -> None:
        super().__init__()
        check_choice("normalisation", normalisation, ("batch", "layer", "none"))
        check_positive(latent_dim=latent_dim, widths=widths, channels=channels)
        self.latent_dim = latent_dim
        self.widths = tuple(widths)
        self.channels = channels
        self.normalisation = normalisation
        self.layers = nn.Sequential(
            *hidden_layers(latent_dim, self.widths, normalisation),
            nn.Linear(self.widths[-1], channels * SIDE * SIDE),
            nn.LeakyReLU(SLOPE),
            nn.Unflatten(1, (channels, SIDE, SIDE)),  # (batch, channels, 14, 14)
            nn.ConvTranspose2d(channels, 1, kernel_size=4, stride=2, padding=1),  # (batch, 1, 28, 28)
            nn.Tanh(),
        )

    def forward(self, z: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch 1 28 28"]:
        images: Tensor = self.layers(z)
        return images


class PixelUnshuffleDiscriminator(nn.Module):
    """Maps images `(batch, 1, 28, 28)` in [−1, 1]: one logit each, `(batch,)`, positive for "real".

    Args:
        channels: of the first convolution; the second has twice as many.
        width: units of the hidden linear layer.

    Raises:
        ValueError: when a size is below 1.
    """

    def __init__(self, channels: int = 8, width: int = 128) -> None:
        super().__init__()
        check_positive(channels=channels, width=width)
        self.channels = channels
        self.width = width
        self.layers = nn.Sequential(
            nn.PixelUnshuffle(2),  # (batch, 4, 14, 14)
            nn.Conv2d(4, channels, kernel_size=3, padding=1),  # (batch, c, 14, 14)
            nn.LeakyReLU(SLOPE),
            nn.PixelUnshuffle(2),  # (batch, 4c, 7, 7)
            nn.Conv2d(4 * channels, 2 * channels, kernel_size=3, padding=1),  # (batch, 2c, 7, 7)
            nn.LeakyReLU(SLOPE),
            nn.Flatten(),
            nn.Linear(2 * channels * 7 * 7, width),
            nn.LeakyReLU(SLOPE),
            nn.Linear(width, 1),
        )

    def forward(self, images: Float[Tensor, "batch 1 28 28"]) -> Float[Tensor, " batch"]:
        logits: Tensor = self.layers((images - MNIST_MEAN) / MNIST_STD)
        return logits.squeeze(1)
