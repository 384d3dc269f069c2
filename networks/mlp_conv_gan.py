"""The pair of `gan.yaml`: an MLP with a transposed-convolution head, and a small pixel-unshuffle CNN.

    G: z 16 → 256 → 512 → 512 → 4×14×14 → 1×28×28           linear layers, then a transposed convolution; LeakyReLU,
                                                            BatchNorm after all hidden layers but the first, Tanh
    D: 1×28×28 → 8×14×14 → 16×7×7 → 128 → 1 logit           3×3 convolutions, each after a pixel unshuffle; LeakyReLU

The search of `docs/results.md` chose this pair over the MLP pair and a small DCGAN. `docs/gan.md` compares its parts,
in `gan.yaml` as it was then, with R2:

- The head shares its 4×4 kernels between all positions. In the MLP each pixel is an output of its own; with that FID of
  `gan.yaml` is 1.6 times as high.
- With the MLP as D, FID of `gan.yaml` is 2.2 times as high.
- D standardises its input with the mean and standard deviation of the data's pixels, in MNIST mostly −1. This
  lowers FID of the textbook recipe by a fifth, and changes nothing in `gan.yaml`.

A pixel unshuffle moves 2×2 pixels into channels, so D's 3×3 convolutions see 6×6 pixels with stride 2. After the search
it replaced 5×5 convolutions with stride 2.

With a number of `classes` both are class-conditional (`networks.conditional`): G by its BatchNorm, D by a projection.
"""

import math
from collections.abc import Sequence
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from common.arguments import check_choice, check_classes, check_image_shape, check_positive
from networks.conditional import ConditionalSequential, Labels, ProjectionHead
from networks.mlp_gan import SLOPE, hidden_layers

MNIST_MEAN, MNIST_STD = 2 * 0.1307 - 1, 2 * 0.3081
"""Mean and standard deviation of the training images' pixels: the usual numbers for [0, 1], here for [−1, 1]."""


class MLPConvGenerator(nn.Module):
    """Turns noise into images: z `(batch, latent_dim)`, usually from N(0, 1), to `(batch, *image_shape)` in [−1, 1].

    In train mode BatchNorm needs a batch of two or more, and torch raises ValueError for one.

    Args:
        latent_dim: length of the noise.
        widths: units of the hidden layers.
        channels: of the feature map of half the height and width that the transposed convolution turns into an image.
        normalisation: after all hidden layers but the first: batch, layer or none.
        image_shape: channels, height and width; the last two are even.
        classes: number of classes; 0 for an unconditional generator. With classes, BatchNorm has a gain and a bias for
            each, and `forward` takes labels.

    Raises:
        ValueError: when a size is below 1, height or width is odd, there is no hidden layer, the normalisation is
            unknown, or there are classes and no BatchNorm.
    """

    def __init__(
        self,
        latent_dim: int = 16,
        widths: Sequence[int] = (256, 512, 512),
        channels: int = 4,
        normalisation: Literal["batch", "layer", "none"] = "batch",
        image_shape: Sequence[int] = (1, 28, 28),
        classes: int = 0,
    ) -> None:
        super().__init__()
        check_choice("normalisation", normalisation, ("batch", "layer", "none"))
        check_positive(latent_dim=latent_dim, widths=widths, channels=channels)
        check_classes(classes)
        if classes and (normalisation != "batch" or len(widths) < 2):
            raise ValueError(
                f"classes is {classes}, and the class enters by BatchNorm, which needs normalisation: batch and two "
                "widths or more; write these, or classes: 0"
            )
        self.latent_dim = latent_dim
        self.widths = tuple(widths)
        self.channels = channels
        self.normalisation = normalisation
        self.image_shape = check_image_shape("MLPConvGenerator", image_shape, multiple=2)
        self.classes = classes
        image_channels, height, width = self.image_shape
        self.layers = (ConditionalSequential if classes else nn.Sequential)(
            *hidden_layers(latent_dim, self.widths, normalisation, classes),
            nn.Linear(self.widths[-1], channels * (height // 2) * (width // 2)),
            nn.LeakyReLU(SLOPE),
            nn.Unflatten(1, (channels, height // 2, width // 2)),
            nn.ConvTranspose2d(channels, image_channels, kernel_size=4, stride=2, padding=1),
            nn.Tanh(),
        )

    def forward(
        self, z: Float[Tensor, "batch latent"], *labels: Labels
    ) -> Float[Tensor, "batch channels height width"]:
        images: Tensor = self.layers(z, *labels)
        return images


class PixelUnshuffleDiscriminator(nn.Module):
    """Maps images `(batch, *image_shape)` in [−1, 1]: one logit each, `(batch,)`, positive for "real".

    Args:
        channels: of the first convolution; the second has twice as many.
        width: units of the hidden linear layer.
        image_shape: channels, height and width; the last two are multiples of 4.
        classes: number of classes; 0 for an unconditional discriminator. With classes, `forward` takes labels.
        mean: of the data's pixels in [−1, 1]; None for that of MNIST.
        std: their standard deviation; None for that of MNIST.

    Raises:
        ValueError: when a size is below 1, height or width is no multiple of 4, `mean` or `std` isn't finite, or `std`
            isn't positive.
    """

    def __init__(
        self,
        channels: int = 8,
        width: int = 128,
        image_shape: Sequence[int] = (1, 28, 28),
        classes: int = 0,
        mean: float | None = None,
        std: float | None = None,
    ) -> None:
        super().__init__()
        check_positive(channels=channels, width=width)
        check_classes(classes)
        self.mean = MNIST_MEAN if mean is None else mean
        self.std = MNIST_STD if std is None else std
        if not (math.isfinite(self.mean) and 0 < self.std < math.inf):
            raise ValueError(f"mean is {self.mean} and std {self.std}; write finite numbers, and a std above 0")
        self.channels = channels
        self.width = width
        self.image_shape = check_image_shape("PixelUnshuffleDiscriminator", image_shape, multiple=4)
        self.classes = classes
        image_channels, image_height, image_width = self.image_shape
        self.layers = (ConditionalSequential if classes else nn.Sequential)(
            nn.PixelUnshuffle(2),
            # (batch, c, height / 2, width / 2)
            nn.Conv2d(4 * image_channels, channels, kernel_size=3, padding=1),
            nn.LeakyReLU(SLOPE),
            nn.PixelUnshuffle(2),
            # (batch, 2c, height / 4, width / 4)
            nn.Conv2d(4 * channels, 2 * channels, kernel_size=3, padding=1),
            nn.LeakyReLU(SLOPE),
            nn.Flatten(),
            nn.Linear(2 * channels * (image_height // 4) * (image_width // 4), width),
            nn.LeakyReLU(SLOPE),
            ProjectionHead(width, classes) if classes else nn.Linear(width, 1),
        )

    def forward(self, images: Float[Tensor, "batch channels height width"], *labels: Labels) -> Float[Tensor, " batch"]:
        logits: Tensor = self.layers((images - self.mean) / self.std, *labels)
        return logits.squeeze(1)
