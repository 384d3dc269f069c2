"""Checks of a GAN's arguments that refuse what would give a wrong result or fail late."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils.parametrizations import _SpectralNorm
from torch.nn.utils.parametrize import is_parametrized

from common.eval_mode import evaluating
from common.matmul_precision import MATMUL_PRECISIONS
from losses.gan import GAN_LOSSES
from networks.normalisation import mixes_images

PENALTIES = ("r1", "r2", "gradient_penalty")


def validate_gan_arguments(arguments: Mapping[str, Any], generator: nn.Module, discriminator: nn.Module) -> None:
    """Raises ValueError when an argument of `GAN` is out of range, or when arguments or networks don't fit together."""
    for name, (is_valid, valid) in RANGES.items():
        if not is_valid(arguments[name]):
            raise ValueError(f"{name} is {arguments[name]!r}; write {valid}")
    for name in ("generator_lr_scheduler", "discriminator_lr_scheduler"):
        if arguments[name] is not None and arguments[name]["name"].endswith("ReduceLROnPlateau"):
            raise ValueError(f"{name} steps with every batch, so it can't be ReduceLROnPlateau; try StepLR")
    side = _refuse_other_shapes(generator, discriminator)
    *_, last_layer = discriminator.modules()
    penalties = [name for name in PENALTIES if arguments[name] > 0]
    unbounded = arguments["loss"] == "wasserstein" and not penalties and not _is_spectrally_normalised(discriminator)
    contradictions = {
        f"gradient_penalty pulls the norm of the discriminator's gradient to 1, {' and '.join(penalties[:-1])} to 0; "
        "set one of them to 0": "gradient_penalty" in penalties[1:],
        f"{' and '.join(penalties)} needs the gradient of each image, and the discriminator's BatchNorm mixes the "
        "images of a batch; set the penalty to 0, or the discriminator's normalisation to none": (
            penalties and mixes_images(discriminator)
        ),
        "the wasserstein loss is unbounded unless the discriminator's gradient is bounded; set gradient_penalty to 10, "
        "or the discriminator's normalisation to spectral": unbounded,
        "the discriminator ends in a sigmoid, which the losses contain; let it return logits": (
            isinstance(last_layer, nn.Sigmoid)
        ),
        f"diffaugment_translation is {arguments['diffaugment_translation']}, which can shift images of {side} pixels "
        "out of sight; write less": arguments["diffaugment_translation"] >= side,
    }
    for message, applies in contradictions.items():
        if applies:
            raise ValueError(message)


def refuse_other_size(fakes: Tensor, images: Tensor) -> None:
    """Raises ValueError when generated and real images differ in size."""
    if fakes.shape != images.shape:
        raise ValueError(
            f"the generator makes images of {_size(fakes)} and the data's are {_size(images)}; make them the same"
        )


def refuse_lone_image(images: Tensor, *networks: nn.Module) -> None:
    """Raises ValueError when a batch has one image and a network has a BatchNorm, whose variance is then 0."""
    if len(images) == 1 and any(map(mixes_images, networks)):
        raise ValueError(
            "BatchNorm needs at least 2 images, and this batch has 1; choose a batch_size that doesn't leave a single "
            "image in the last batch of an epoch"
        )


RANGES = {
    "loss": (GAN_LOSSES.__contains__, f"one of {', '.join(GAN_LOSSES)}"),
    "matmul_precision": (MATMUL_PRECISIONS.__contains__, f"one of {', '.join(MATMUL_PRECISIONS)}"),
    **dict.fromkeys(PENALTIES, (lambda weight: 0 <= weight < math.inf, "a weight of 0 or more, 0 for no penalty")),
    **dict.fromkeys(
        ("d_reg_interval", "n_critic"),
        (lambda n: isinstance(n, int) and n >= 1, "1 for every batch, or a larger whole number"),
    ),
    "diffaugment_translation": (lambda n: isinstance(n, int) and n >= 0, "a whole number of pixels, 0 for none"),
    "ema_decay": (lambda decay: decay is None or 0 < decay < 1, "a number between 0 and 1, such as 0.999, or null"),
}
"""For each argument a predicate of valid values, and what to write."""


def _is_spectrally_normalised(network: nn.Module) -> bool:
    """Returns whether all linear and convolutional layers are, which bounds the gradient of the whole network."""
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Linear | _ConvNd)]
    return all(
        is_parametrized(layer, "weight")
        and any(isinstance(step, _SpectralNorm) for step in layer.parametrizations["weight"])  # type: ignore[index]
        for layer in layers
    )


def _refuse_other_shapes(generator: nn.Module, discriminator: nn.Module) -> int:
    """Raises ValueError unless the discriminator returns one logit for each image of the generator.

    Returns:
        The shorter side of these images, in pixels.
    """
    latent_dim = getattr(generator, "latent_dim", None)
    if not isinstance(latent_dim, int):
        raise ValueError(f"{type(generator).__name__} needs a whole number `latent_dim`, the length of its noise")
    names = f"{type(discriminator).__name__} and {type(generator).__name__} don't fit"
    problem = "the generator fails"
    try:
        with evaluating(generator, discriminator):
            like = next(generator.parameters(), torch.empty(0))
            images: Tensor = generator(torch.zeros(2, latent_dim, dtype=like.dtype, device=like.device))
            problem = f"the generator makes images of {_size(images)}, which the discriminator doesn't take"
            logits = discriminator(images)
    except (RuntimeError, ValueError, TypeError) as error:
        raise ValueError(f"{names}: {problem} ({error})") from error
    if logits.shape != (2,):
        raise ValueError(
            f"{names}: for 2 images the discriminator returns {tuple(logits.shape)}; return one logit each"
        )
    return min(images.shape[-2:])


def _size(images: Tensor) -> str:
    return " × ".join(map(str, images.shape[1:]))
