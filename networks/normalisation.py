"""Normalisation layers by name, and spectral normalisation."""

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.parametrizations import spectral_norm

from networks.conditional import ConditionalBatchNorm


def linear_norm(normalisation: str, width: int, classes: int = 0) -> list[nn.Module]:
    """Returns the normalisation layer after a linear one of `width` units, in a list that is empty for none.

    With a number of `classes` it is a class-conditional BatchNorm.
    """
    if classes:
        return [ConditionalBatchNorm(width, classes)]
    layers = {"batch": nn.BatchNorm1d, "layer": nn.LayerNorm}
    return [layers[normalisation](width)] if normalisation in layers else []


def image_norm(normalisation: str, channels: int) -> list[nn.Module]:
    """Returns the normalisation layer after a convolution to `channels`, in a list that is empty for none."""
    return [nn.BatchNorm2d(channels)] if normalisation == "batch" else []


def add_spectral_norm(layers: nn.Sequential) -> None:
    """Adds spectral normalisation to each linear and convolutional layer (Miyato et al. 2018, arXiv 1802.05957)."""
    for layer in layers:
        if isinstance(layer, nn.Linear | nn.Conv2d):
            spectral_norm(layer)


def mixes_images(network: nn.Module) -> bool:
    """Returns whether the output for an image depends on the rest of its batch, because of a BatchNorm."""
    return any(isinstance(layer, _BatchNorm) for layer in network.modules())
