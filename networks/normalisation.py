"""What keeps the networks' signals, or their slopes, within bounds."""

from collections.abc import Sequence

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.parametrizations import spectral_norm


def linear_norm(normalisation: str, width: int) -> list[nn.Module]:
    """The layer after a linear one of `width` units, or no layer."""
    match normalisation:
        case "batch":
            return [nn.BatchNorm1d(width)]
        case "layer":
            return [nn.LayerNorm(width)]
    return []


def image_norm(normalisation: str, channels: int) -> list[nn.Module]:
    """The layer after a convolution to `channels`, or no layer."""
    return [nn.BatchNorm2d(channels)] if normalisation == "batch" else []


def spectrally(layers: nn.Sequential) -> None:
    """Divides each weight by its largest singular value, as it is now (Miyato et al. 2018, arXiv 1802.05957)."""
    for layer in layers:
        if isinstance(layer, nn.Linear | nn.Conv2d):
            spectral_norm(layer)


def mixes_images(network: nn.Module) -> bool:
    """Whether what the network makes of an image depends on the others of its batch, by a BatchNorm."""
    return any(isinstance(layer, _BatchNorm) for layer in network.modules())


def refuse_unknown(normalisation: str, known: Sequence[str]) -> None:
    """Raises ValueError unless `normalisation` is one of the `known`."""
    if normalisation not in known:
        raise ValueError(f"normalisation is '{normalisation}'; write {', '.join(known[:-1])} or {known[-1]}")
