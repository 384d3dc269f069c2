"""Small class-conditional networks. Not a test."""

from typing import Any

import torch
from torch import Tensor, nn

from networks.conditional import ConditionalBatchNorm
from networks.mlp_conv_gan import MLPConvGenerator


class Shades(nn.Module):
    """Fills an image with the shade of its class, from −1 for class 0 to 0.8 for class 9."""

    latent_dim, classes, image_shape = 3, 10, (1, 28, 28)

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        shades = torch.arange(10) / 5 - 1
        shade = labels @ shades if labels.is_floating_point() else shades[labels]
        return shade[:, None, None, None].expand(-1, 1, 28, 28) + self.weight * z.mean()


def shades_of(images: Tensor) -> list[float]:
    """The class that each image of `Shades` shows."""
    return [round(float(5 * image.mean() + 5), 3) for image in images]


def generator(classes: int = 10, **arguments: Any) -> MLPConvGenerator:
    """One whose gains and biases differ between classes, as after some training."""
    torch.manual_seed(0)
    network = MLPConvGenerator(3, [4, 8], 2, classes=classes, **arguments)
    for layer in network.modules():
        if isinstance(layer, ConditionalBatchNorm):
            nn.init.normal_(layer.gain)
            nn.init.normal_(layer.bias)
    return network
