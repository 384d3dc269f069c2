"""Checks of a GAN's arguments: what would train without an error, and not what was meant."""

import math
from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from common.arguments import check_choice, check_positive
from common.eval_mode import output_for_zeros
from common.matmul_precision import MATMUL_PRECISIONS
from losses.gan import GAN_LOSSES
from networks.conditional import class_weights, classes_of, labels_in_turn
from networks.normalisation import mixes_images

PENALTIES = ("r1", "r2", "gradient_penalty")


def validate_gan_arguments(
    arguments: Mapping[str, Any], generator: nn.Module, discriminator: nn.Module
) -> tuple[int, ...]:
    """Checks the arguments of `GAN` and its networks; returns the shape of an image.

    Raises:
        ValueError: when an argument is out of range, or when arguments or networks don't fit together.
    """
    check_choice("loss", arguments["loss"], GAN_LOSSES)
    check_choice("matmul_precision", arguments["matmul_precision"], MATMUL_PRECISIONS)
    check_positive(d_reg_interval=arguments["d_reg_interval"], n_critic=arguments["n_critic"])
    decay, max_shift = arguments["ema_decay"], arguments["diffaugment_translation"]
    if decay is not None and not 0 < decay < 1:
        raise ValueError(f"ema_decay is {decay}; write a number between 0 and 1, such as 0.999, or null")
    for name in PENALTIES:
        if not 0 <= arguments[name] < math.inf:
            raise ValueError(f"{name} is {arguments[name]}; write a weight of 0 or more, 0 for no penalty")

    latent_dim = getattr(generator, "latent_dim", None)
    if not isinstance(latent_dim, int):
        raise ValueError(f"{type(generator).__name__} needs a whole number `latent_dim`, the length of its noise")
    classes, known = classes_of(generator), classes_of(discriminator)
    if classes != known:
        raise ValueError(
            f"the generator has {classes} classes, but the discriminator {known}; write the same `classes` for both, 0 "
            "for an unconditional GAN"
        )
    labels = labels_in_turn(generator, 2)
    images = output_for_zeros(generator, (2, latent_dim), *labels)
    if classes:
        try:
            output_for_zeros(generator, (2, latent_dim), *class_weights(generator, 2))
        except ValueError as error:
            raise ValueError(
                f"{type(generator).__name__} takes labels, but no weights of classes, `(batch, classes)`, which a "
                f"morph from class to class needs; see networks.conditional ({error})"
            ) from None  # the command would name the line of the cause
    image_shape = tuple(images.shape[1:])
    accepted = tuple(getattr(discriminator, "image_shape", image_shape))
    if accepted != image_shape:
        raise ValueError(
            f"the generator makes images of the shape {image_shape}, but the discriminator takes {accepted}; write the "
            "same image_shape for both"
        )
    logits = output_for_zeros(discriminator, images.shape, *labels)
    if logits.shape != (2,):
        name = type(discriminator).__name__
        raise ValueError(f"for 2 images {name} returns {tuple(logits.shape)}; return one logit each")
    side = min(images.shape[-2:])
    if not 0 <= max_shift < side:
        raise ValueError(f"diffaugment_translation is {max_shift}; write 0 to {side - 1} pixels, 0 for none")

    layers = [*discriminator.modules()]
    if isinstance(layers[-1], nn.Sigmoid):
        raise ValueError("the discriminator ends in a sigmoid, which the losses contain; let it return logits")
    penalties = [name for name in PENALTIES if arguments[name] > 0]
    if penalties and mixes_images(discriminator):
        raise ValueError(
            f"{' and '.join(penalties)} needs the gradient of each image, and the discriminator's BatchNorm mixes the "
            "images of a batch; set the penalty to 0, or the discriminator's normalisation to none"
        )
    if arguments["loss"] == "wasserstein" and not penalties and not any(map(is_parametrized, layers)):
        raise ValueError(
            "the wasserstein loss is unbounded unless the discriminator's gradient is bounded; set gradient_penalty to "
            "10, or the discriminator's normalisation to spectral"
        )
    return image_shape
