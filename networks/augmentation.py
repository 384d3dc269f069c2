"""Moving images about, so that a discriminator can't learn the training images by heart."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor


def random_shifts(n: int, most: int, stream: torch.Generator) -> Int[Tensor, "n 2"]:
    """`n` shifts (down, right) of −`most` to `most` pixels each, on the stream's device."""
    return torch.randint(-most, most + 1, (n, 2), generator=stream, device=stream.device)


def translate(
    images: Float[Tensor, "batch 1 height width"], shifts: Int[Tensor, "batch 2"], paper: float = -1.0
) -> Float[Tensor, "batch 1 height width"]:
    """Moves each image by its shift (down, right) in pixels; what comes into view is `paper`.

    Differentiable, so that a generator learns through it (Zhao et al. 2020, "Differentiable Augmentation for
    Data-Efficient GAN Training", arXiv 2006.10738).
    """
    height, width = images.shape[2:]
    margin = max(height, width)
    padded = F.pad(images[:, 0], (margin,) * 4, value=paper)
    down, right = (margin - shifts).unbind(1)
    rows = down[:, None] + torch.arange(height, device=images.device)  # (batch, height)
    columns = right[:, None] + torch.arange(width, device=images.device)  # (batch, width)
    batch = torch.arange(len(images), device=images.device)
    return padded[batch[:, None, None], rows[:, :, None], columns[:, None, :]].unsqueeze(1)
