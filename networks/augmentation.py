"""Differentiable augmentation of a discriminator's images (Zhao et al. 2020, arXiv 2006.10738): translation."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor


def random_shifts(n: int, max_shift: int, rng: torch.Generator) -> Int[Tensor, "n 2"]:
    """Draws `n` shifts (down, right) from −`max_shift` … `max_shift` pixels, on the generator's device."""
    return torch.randint(-max_shift, max_shift + 1, (n, 2), generator=rng, device=rng.device)


def translate(
    images: Float[Tensor, "batch channels height width"], shifts: Int[Tensor, "batch 2"], background: float = -1.0
) -> Float[Tensor, "batch channels height width"]:
    """Moves each image by its shift (down, right) in pixels and fills the border with `background`.

    Differentiable with respect to the images, so a generator learns through it.
    """
    height, width = images.shape[2:]
    margin = max(height, width)
    planes = images.flatten(0, 1)  # the channels of an image have one shift
    padded = F.pad(planes, (margin,) * 4, value=background)
    down, right = (margin - shifts.repeat_interleave(images.shape[1], dim=0)).unbind(1)
    rows = down[:, None] + torch.arange(height, device=images.device)  # (planes, height)
    columns = right[:, None] + torch.arange(width, device=images.device)  # (planes, width)
    places = torch.arange(len(planes), device=images.device)
    return padded[places[:, None, None], rows[:, :, None], columns[:, None, :]].view(images.shape)
