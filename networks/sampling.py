"""Images from a trained generator, in batches, so that memory doesn't limit how many."""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn

BATCH = 100
"""Images in one pass, few enough to stay in a processor's cache: by 500 it takes half as long again."""

Images = Float[Tensor, "batch 1 28 28"]


def draw(generator: nn.Module, latents: Float[Tensor, "n latent"]) -> Float[Tensor, "n 1 28 28"]:
    """What a generator in eval mode makes of the latents, whatever it is, in float32 on its own device."""
    return torch.cat([*_batches(generator, latents)])


def images_from(generator: nn.Module, latents: Float[Tensor, "n latent"]) -> Iterator[Images]:
    """The same, to be looked at, at most `BATCH` images at a time.

    Raises:
        ValueError: when a pixel is not a finite number.
    """
    for images in _batches(generator, latents):
        if not images.isfinite().all():
            raise ValueError("the generator makes pixels that are no finite numbers; its training has failed")
        yield images


def _batches(generator: nn.Module, latents: Float[Tensor, "n latent"]) -> Iterator[Images]:
    for batch in latents.to(next(generator.parameters(), latents)).split(BATCH):
        with torch.no_grad():
            images = generator(batch).float()
        yield images
