"""Images from a trained generator, in batches, so that memory doesn't limit how many."""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn

BATCH = 512


def images_from(generator: nn.Module, latents: Float[Tensor, "n latent"]) -> Iterator[Float[Tensor, "batch 1 28 28"]]:
    """What a generator in eval mode makes of the latents, in their order, at most `BATCH` images at a time.

    Raises:
        ValueError: when a pixel is not a finite number.
    """
    for batch in latents.split(BATCH):
        with torch.no_grad():
            images = generator(batch)
        if not images.isfinite().all():
            raise ValueError("the generator makes pixels that are no finite numbers; its training has failed")
        yield images
