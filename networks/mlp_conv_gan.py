"""A pair that learns digits quickly on a CPU: linear layers do most of the work, short strokes the rest.

    G: z 16 → 256 → 512 → 512 → 4 brushes at 14×14 places → 1×28×28    LeakyReLU, BatchNorm as in the MLP, Tanh
    D: 1×28×28 → 8×14×14 → 16×7×7 → 128 → 1 logit                      convolutions of 2×2 places folded; LeakyReLU

Two things make the difference to the textbook's pair and to a small DCGAN, with everything else equal:

- G paints with brushes. Where each pixel is an output of its own, each learns for itself, and digits stay grainy.
- D sees pixels less their mean and over their standard deviation. Most pixels of most digits are paper, −1; an input
  that is nearly the same number everywhere drowns what differs.

D's convolutions look at 6×6 places and move on by two. Written as 3×3 convolutions of 2×2 places folded into channels,
their gradients, and those of gradients that penalties need, take less time.

`benchmarks/gan_search.py` compares them.
"""

from collections.abc import Sequence
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from networks.mlp_gan import SLOPE, hidden_layers
from networks.normalisation import refuse_unknown

PLACES = 14
MNIST_MEAN, MNIST_DEVIATION = 2 * 0.1307 - 1, 2 * 0.3081
"""Of the training images' pixels; everybody's numbers for [0, 1], here for [−1, 1]."""


class MLPConvGenerator(nn.Module):
    """Turns noise into images: z `(batch, latent_dim)`, usually from N(0, 1), to `(batch, 1, 28, 28)` in [−1, 1].

    In train mode BatchNorm needs a batch of two or more, and torch raises ValueError for one.

    Args:
        latent_dim: length of the noise.
        widths: units of the hidden layers.
        brushes: so many learned strokes of 4 × 4 pixels. A last linear layer presses each onto each of 14 × 14 places,
            harder here and softer there; strokes at neighbouring places overlap.
        normalisation: after all hidden layers but the first: batch, layer or none.

    Raises:
        ValueError: when a size is below 1, there is no hidden layer, or the normalisation is unknown.
    """

    def __init__(
        self,
        latent_dim: int = 16,
        widths: Sequence[int] = (256, 512, 512),
        brushes: int = 4,
        normalisation: Literal["batch", "layer", "none"] = "batch",
    ) -> None:
        super().__init__()
        refuse_unknown(normalisation, ("batch", "layer", "none"))
        if not widths or min(latent_dim, brushes, *widths) < 1:
            raise ValueError(
                f"latent_dim is {latent_dim}, widths {list(widths)} and brushes {brushes}; write positive numbers, "
                "such as 16, [256, 512, 512] and 4"
            )
        self.latent_dim = latent_dim
        self.widths = tuple(widths)
        self.brushes = brushes
        self.normalisation = normalisation
        self.layers = nn.Sequential(
            *hidden_layers(latent_dim, self.widths, normalisation),
            nn.Linear(self.widths[-1], brushes * PLACES * PLACES),
            nn.LeakyReLU(SLOPE),
            nn.Unflatten(1, (brushes, PLACES, PLACES)),  # (batch, brushes, 14, 14)
            nn.ConvTranspose2d(brushes, 1, kernel_size=4, stride=2, padding=1),  # (batch, 1, 28, 28)
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
        if min(channels, width) < 1:
            raise ValueError(f"channels is {channels} and width is {width}; write positive numbers, such as 8 and 128")
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
        logits: Tensor = self.layers((images - MNIST_MEAN) / MNIST_DEVIATION)
        return logits.squeeze(1)
