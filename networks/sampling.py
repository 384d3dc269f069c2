"""Samples a trained generator in batches, so that memory doesn't limit the number of images.

Without labels the images of a class-conditional generator are of all classes in turn: 0, 1, …, 9, 0, 1, ….
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn

from common.eval_mode import evaluating
from networks.conditional import Labels, labels_in_turn

BATCH = 100
"""Images in one forward pass. They fit a CPU's cache; with 500, sampling takes 1.5 times as long."""

Images = Float[Tensor, "batch channels height width"]


def sample(
    generator: nn.Module, latents: Float[Tensor, "n latent"], *labels: Labels
) -> Float[Tensor, "n channels height width"]:
    """Returns the images of a generator in eval mode, in float32 on the generator's device.

    Args:
        generator: see `networks.conditional` for a class-conditional one.
        latents: the noise.
        labels: none, or one tensor: the class of each image, or weights of all classes.
    """
    return torch.cat([*_batches(generator, latents, *labels)])


def finite_samples(generator: nn.Module, latents: Float[Tensor, "n latent"], *labels: Labels) -> Iterator[Images]:
    """Yields the same images, at most `BATCH` at a time.

    Raises:
        ValueError: when a pixel is NaN or infinite.
    """
    for images in _batches(generator, latents, *labels):
        if not images.isfinite().all():
            raise ValueError("the generator's images hold NaN or infinite pixels; its training has failed")
        yield images


def _batches(generator: nn.Module, latents: Float[Tensor, "n latent"], *labels: Labels) -> Iterator[Images]:
    like = next(generator.parameters(), latents)
    whole = (latents, *(labels or labels_in_turn(generator, len(latents))))
    inputs = [each.to(like.device, like.dtype if each.is_floating_point() else None) for each in whole]
    for batch in zip(*(each.split(BATCH) for each in inputs), strict=True):
        with evaluating(generator):
            images = generator(*batch).float()
        yield images
