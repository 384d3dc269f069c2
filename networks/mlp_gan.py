"""The textbook pair: a generator and a discriminator made of linear layers.

    G: z 100 → 128 → 256 → 512 → 1024 → 784    LeakyReLU, BatchNorm after all hidden layers but the first, Tanh
    D: 784 → 512 → 256 → 1 logit               LeakyReLU

The game is Goodfellow et al. 2014, "Generative Adversarial Nets" (arXiv 1406.2661); the layers are those of `gan.py` in
PyTorch-GAN, except that D returns logits, so that each loss is free to take the sigmoid inside its logarithm.

Two remedies that the textbook doesn't know make linear layers learn digits in a fraction of the batches. Most pixels of
most digits are paper, −1, and an input that is nearly the same number everywhere drowns what differs: D learns faster
from `standardised` pixels. And each pixel of G is learned by itself, hence grainy, unless G paints with `brushes`.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from networks.normalisation import linear_norm, refuse_unknown, spectrally

IMAGE_SHAPE = (1, 28, 28)
PIXELS = 28 * 28
PLACES = 14
SLOPE = 0.2
MNIST_MEAN, MNIST_DEVIATION = 2 * 0.1307 - 1, 2 * 0.3081
"""Of the training images' pixels, known to everybody for [0, 1], here for [−1, 1]."""


class MLPGenerator(nn.Module):
    """Turns noise into images: z `(batch, latent_dim)`, usually from N(0, 1), to `(batch, 1, 28, 28)` in [−1, 1].

    In train mode BatchNorm needs a batch of two or more, and torch raises ValueError for one.

    Args:
        latent_dim: length of the noise.
        widths: units of the hidden layers.
        normalisation: after all hidden layers but the first: batch, layer or none.
        brushes: so many learned strokes of 4 × 4 pixels, each of which the last linear layer presses onto each of
            14 × 14 places, harder here and softer there; 0 makes each pixel an output of that layer.

    Raises:
        ValueError: when a size is below 1, there is no hidden layer, or the normalisation is unknown.
    """

    def __init__(
        self,
        latent_dim: int = 100,
        widths: Sequence[int] = (128, 256, 512, 1024),
        normalisation: Literal["batch", "layer", "none"] = "batch",
        brushes: int = 0,
    ) -> None:
        super().__init__()
        refuse_unknown(normalisation, ("batch", "layer", "none"))
        _refuse_sizes(widths)
        if latent_dim < 1:
            raise ValueError(f"latent_dim is {latent_dim}; write a positive number, such as 100")
        if brushes < 0:
            raise ValueError(f"brushes is {brushes}; write 0 for none, or a positive number, such as 4")
        self.latent_dim = latent_dim
        self.widths = tuple(widths)
        self.normalisation = normalisation
        self.brushes = brushes
        hidden = [
            layer
            for fan_in, fan_out in pairwise(self.widths)
            for layer in (nn.Linear(fan_in, fan_out), *linear_norm(normalisation, fan_out), nn.LeakyReLU(SLOPE))
        ]
        self.layers = nn.Sequential(
            nn.Linear(latent_dim, self.widths[0]),
            nn.LeakyReLU(SLOPE),
            *hidden,
            *(_painted(self.widths[-1], brushes) if brushes else [nn.Linear(self.widths[-1], PIXELS)]),
            nn.Tanh(),
        )

    def forward(self, z: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch 1 28 28"]:
        return self.layers(z).view(-1, *IMAGE_SHAPE)


class MLPDiscriminator(nn.Module):
    """Judges images `(batch, 1, 28, 28)` in [−1, 1]: one logit each, `(batch,)`, positive for "real".

    Args:
        widths: units of the hidden layers.
        normalisation: spectral bounds how fast the logit can change with the image; or none.
        standardised: look at pixels as MNIST's, less their mean and over their standard deviation.

    Raises:
        ValueError: when a width is below 1, there is none, or the normalisation is unknown.
    """

    def __init__(
        self,
        widths: Sequence[int] = (512, 256),
        normalisation: Literal["spectral", "none"] = "none",
        standardised: bool = False,
    ) -> None:
        super().__init__()
        refuse_unknown(normalisation, ("spectral", "none"))
        _refuse_sizes(widths)
        self.widths = tuple(widths)
        self.normalisation = normalisation
        self.standardised = standardised
        hidden = [
            layer
            for fan_in, fan_out in pairwise((PIXELS, *self.widths))
            for layer in (nn.Linear(fan_in, fan_out), nn.LeakyReLU(SLOPE))
        ]
        self.layers = nn.Sequential(*hidden, nn.Linear(self.widths[-1], 1))
        if normalisation == "spectral":
            spectrally(self.layers)

    def forward(self, images: Float[Tensor, "batch 1 28 28"]) -> Float[Tensor, " batch"]:
        pixels = images.flatten(1)
        if self.standardised:
            pixels = (pixels - MNIST_MEAN) / MNIST_DEVIATION
        return self.layers(pixels).squeeze(1)


def _painted(width: int, brushes: int) -> list[nn.Module]:
    """The layers from the last hidden one to the canvas."""
    return [
        nn.Linear(width, brushes * PLACES * PLACES),
        nn.LeakyReLU(SLOPE),
        nn.Unflatten(1, (brushes, PLACES, PLACES)),  # (batch, brushes, 14, 14)
        nn.ConvTranspose2d(brushes, 1, kernel_size=4, stride=2, padding=1),  # (batch, 1, 28, 28)
    ]


def _refuse_sizes(widths: Sequence[int]) -> None:
    if not widths or min(widths) < 1:
        raise ValueError(f"widths is {list(widths)}; write one positive number for each hidden layer, such as [256]")
