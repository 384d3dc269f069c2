"""Samples a trained generator in batches, so that memory doesn't limit the number of images."""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn

from common.eval_mode import evaluating

BATCH = 100
"""Images in one forward pass. They fit a CPU's cache; with 500, sampling takes 1.5 times as long."""

Images = Float[Tensor, "batch channels height width"]


def sample(generator: nn.Module, latents: Float[Tensor, "n latent"]) -> Float[Tensor, "n channels height width"]:
    """Returns the images of a generator in eval mode, in float32 on the generator's device."""
    return torch.cat([*_batches(generator, latents)])


def finite_samples(generator: nn.Module, latents: Float[Tensor, "n latent"]) -> Iterator[Images]:
    """Yields the same images, at most `BATCH` at a time.

    Raises:
        ValueError: when a pixel is NaN or infinite.
    """
    for images in _batches(generator, latents):
        if not images.isfinite().all():
            raise ValueError("the generator's images hold NaN or infinite pixels; its training has failed")
        yield images


def _batches(generator: nn.Module, latents: Float[Tensor, "n latent"]) -> Iterator[Images]:
    for batch in latents.to(next(generator.parameters(), latents)).split(BATCH):
        with evaluating(generator):
            images = generator(batch).float()
        yield images
