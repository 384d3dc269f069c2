"""Games that can't be played, refused in words."""

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

WEIGHTS = ("r1", "r2", "gradient_penalty")
INTERVALS = ("d_reg_interval", "n_critic")
SCHEDULERS = ("generator_lr_scheduler", "discriminator_lr_scheduler")


def validate_gan_arguments(settings: Mapping[str, Any], generator: nn.Module, discriminator: nn.Module) -> None:
    """Raises ValueError when a setting of `GAN` is out of range, or two of them, or the networks, don't go together."""
    _refuse_out_of_range(settings)
    for name in SCHEDULERS:
        if settings[name] is not None and settings[name]["name"].endswith("ReduceLROnPlateau"):
            raise ValueError(f"{name} steps with every batch, so it can't be ReduceLROnPlateau; try StepLR")
    penalised = [name for name in WEIGHTS if settings[name] > 0]
    if "gradient_penalty" in penalised and len(penalised) > 1:
        raise ValueError(
            f"gradient_penalty pulls the discriminator's slope to 1 and {penalised[0]} pulls it to 0; "
            "set one of them to 0"
        )
    if penalised and mixes_images(discriminator):
        raise ValueError(
            f"{penalised[0]} needs each image's own gradient, and the discriminator's BatchNorm mixes the images of a "
            f"batch; set {penalised[0]} to 0, or the discriminator's normalisation to none"
        )
    if settings["loss"] == "wasserstein" and not penalised and not _is_spectrally_normalised(discriminator):
        raise ValueError(
            "the wasserstein loss grows without end unless the discriminator's slope is bounded; "
            "set gradient_penalty to 10, or the discriminator's normalisation to spectral"
        )
    *_, last = discriminator.modules()
    if isinstance(last, nn.Sigmoid):
        raise ValueError("the discriminator ends in a sigmoid, which the losses take themselves; let it end in logits")
    side = _refuse_strangers(generator, discriminator)
    if settings["diffaugment_translation"] >= side:
        raise ValueError(
            f"diffaugment_translation is {settings['diffaugment_translation']}, which can move images of {side} pixels "
            "out of sight; write less"
        )


def refuse_other_size(fakes: Tensor, images: Tensor) -> None:
    """Raises ValueError when generated and real images differ in size."""
    if fakes.shape != images.shape:
        raise ValueError(
            f"the generator makes images of {_size(fakes)} and the data's are {_size(images)}; make them the same"
        )


def refuse_lone_image(images: Tensor, *networks: nn.Module) -> None:
    """Raises ValueError when a batch of one image meets a BatchNorm, which has nothing to compare it with."""
    if len(images) == 1 and any(map(mixes_images, networks)):
        raise ValueError(
            "BatchNorm needs at least 2 images, and this batch has 1; choose a batch_size that doesn't leave a single "
            "image to the end of an epoch"
        )


def _refuse_out_of_range(settings: Mapping[str, Any]) -> None:
    if settings["loss"] not in GAN_LOSSES:
        raise ValueError(f"loss is '{settings['loss']}'; write one of {', '.join(GAN_LOSSES)}")
    for name in WEIGHTS:
        if not 0 <= settings[name] < math.inf:
            raise ValueError(f"{name} is {settings[name]}; write a weight of 0 or more, 0 for no penalty")
    for name in INTERVALS:
        if not isinstance(settings[name], int) or settings[name] < 1:
            raise ValueError(f"{name} is {settings[name]}; write 1 for every batch, or a larger whole number")
    if not isinstance(settings["diffaugment_translation"], int) or settings["diffaugment_translation"] < 0:
        raise ValueError(
            f"diffaugment_translation is {settings['diffaugment_translation']}; write a number of pixels, 0 for none"
        )
    if settings["matmul_precision"] not in MATMUL_PRECISIONS:
        raise ValueError(
            f"matmul_precision is '{settings['matmul_precision']}'; write one of {', '.join(MATMUL_PRECISIONS)}"
        )
    ema_decay = settings["ema_decay"]
    if ema_decay is not None and not 0 < ema_decay < 1:
        raise ValueError(f"ema_decay is {ema_decay}; write a number between 0 and 1, such as 0.999, or null")


def _is_spectrally_normalised(network: nn.Module) -> bool:
    """Whether each layer with a matrix or a kernel is, so that the whole can't be steep."""
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Linear | _ConvNd)]
    return all(
        is_parametrized(layer, "weight")
        and any(isinstance(step, _SpectralNorm) for step in layer.parametrizations["weight"])  # type: ignore[index]
        for layer in layers
    )


def _refuse_strangers(generator: nn.Module, discriminator: nn.Module) -> int:
    """Raises ValueError unless the discriminator can give one logit for each image that the generator makes.

    Returns:
        The shorter side of these images, in pixels.
    """
    latent_dim = getattr(generator, "latent_dim", None)
    if not isinstance(latent_dim, int):
        raise ValueError(f"{type(generator).__name__} needs a whole number `latent_dim`, the length of its noise")
    names = f"{type(discriminator).__name__} and {type(generator).__name__} don't fit"
    made = "no image comes out"
    try:
        with evaluating(generator, discriminator):
            like = next(generator.parameters(), torch.empty(0))
            images: Tensor = generator(torch.zeros(2, latent_dim, dtype=like.dtype, device=like.device))
            made = f"the generator makes images of {_size(images)}, which the other can't read"
            logits = discriminator(images)
    except (RuntimeError, ValueError, TypeError) as error:
        raise ValueError(f"{names}: {made} ({error})") from error
    if logits.shape != (2,):
        raise ValueError(f"{names}: for 2 images the discriminator gives {tuple(logits.shape)}; give one logit each")
    return min(images.shape[-2:])


def _size(images: Tensor) -> str:
    return " × ".join(map(str, images.shape[1:]))
