"""The three GAN pairs: layers, shapes, ranges, initialisation, and DiffAugment's translation."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from datamodules import MNISTDataModule
from metrics.features import scaled
from networks.augmentation import random_shifts, translate
from networks.dcgan import DCGANDiscriminator, DCGANGenerator
from networks.mlp_conv_gan import MLPConvGenerator, PixelUnshuffleDiscriminator
from networks.mlp_gan import MLPDiscriminator, MLPGenerator
from networks.sampling import sample


def shapes(network: nn.Module, input: torch.Tensor) -> list[tuple[int, ...]]:
    """The shapes of one input after each layer that changes it."""
    found = [tuple(input.shape[1:])]
    for layer in network.layers:  # type: ignore[union-attr]
        input = layer(input)
        if tuple(input.shape[1:]) != found[-1]:
            found.append(tuple(input.shape[1:]))
    return found


IMAGE = (1, 28, 28)
SHAPES: list[tuple[nn.Module, list[tuple[int, ...]]]] = [
    (MLPGenerator(), [(100,), (128,), (256,), (512,), (1024,), (784,)]),
    (MLPDiscriminator(), [(784,), (512,), (256,), (1,)]),
    (DCGANGenerator(), [(100,), (128 * 7 * 7,), (128, 7, 7), (64, 14, 14), IMAGE]),
    (DCGANDiscriminator(), [IMAGE, (64, 14, 14), (128, 7, 7), (128 * 7 * 7,), (1,)]),
    (MLPConvGenerator(8, [32, 48], 3), [(8,), (32,), (48,), (3 * 14 * 14,), (3, 14, 14), IMAGE]),
    (PixelUnshuffleDiscriminator(5, 9), [IMAGE, (4, 14, 14), (5, 14, 14), (20, 7, 7), (10, 7, 7), (490,), (9,), (1,)]),
]


@pytest.mark.parametrize(("network", "expected"), SHAPES)
def test_layers_have_the_documented_shapes(network: nn.Module, expected: list[tuple[int, ...]]) -> None:
    assert shapes(network, torch.randn(2, *expected[0])) == expected


HIDDEN = [nn.Linear, nn.LeakyReLU]
KINDS: list[tuple[nn.Module, list[type]]] = [
    (MLPGenerator(), [*HIDDEN, *[nn.Linear, nn.BatchNorm1d, nn.LeakyReLU] * 3, nn.Linear, nn.Tanh]),
    (MLPGenerator(5, [8, 9], "layer"), [*HIDDEN, nn.Linear, nn.LayerNorm, nn.LeakyReLU, nn.Linear, nn.Tanh]),
    (MLPGenerator(5, [8, 9], "none"), [*HIDDEN, *HIDDEN, nn.Linear, nn.Tanh]),
    (MLPDiscriminator(), [*HIDDEN, *HIDDEN, nn.Linear]),
    (DCGANGenerator(), [nn.Linear, nn.Unflatten, *[nn.BatchNorm2d, nn.ReLU, nn.ConvTranspose2d] * 2, nn.Tanh]),
    (DCGANDiscriminator(), [nn.Conv2d, nn.LeakyReLU, nn.Conv2d, nn.BatchNorm2d, nn.LeakyReLU, nn.Flatten, nn.Linear]),
]


@pytest.mark.parametrize(("network", "expected"), KINDS)
def test_normalisation_stands_where_documented(network: nn.Module, expected: list[type]) -> None:
    assert [type(layer) for layer in network.layers] == expected  # type: ignore[union-attr]


@pytest.mark.parametrize("network", [DCGANGenerator(normalisation="none"), DCGANDiscriminator(normalisation="none")])
def test_dcgan_starts_from_the_papers_distribution_without_batchnorm(network: nn.Module) -> None:
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in network.modules())
    deviations = [p.std().item() for p in network.parameters() if p.dim() > 1 and p.numel() > 5000]
    assert deviations == pytest.approx([0.02, 0.02], rel=0.05)


def test_pixel_unshuffle_discriminator_standardises_its_input(digits: MNISTDataModule) -> None:
    digits.setup()
    inputs: list[torch.Tensor] = []
    discriminator = PixelUnshuffleDiscriminator()
    discriminator.layers.register_forward_pre_hook(lambda _, args: inputs.append(args[0]))
    discriminator(scaled(digits.splits.images[:2000]))
    assert inputs[0].mean().item() == pytest.approx(0, abs=0.03)
    assert inputs[0].std().item() == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize(
    ("generator", "discriminator"),
    [
        (MLPGenerator(5), MLPDiscriminator()),
        (DCGANGenerator(5, 4), DCGANDiscriminator(4, "none")),
        (DCGANGenerator(5, 4, "none"), DCGANDiscriminator(4, "spectral")),
        (MLPConvGenerator(5), PixelUnshuffleDiscriminator()),
    ],
)
def test_images_are_in_range_and_outputs_independent_in_eval_mode(
    generator: nn.Module, discriminator: nn.Module
) -> None:
    z = 100 * torch.randn(6, 5)
    images = generator.train()(z)
    assert images.shape == (6, 1, 28, 28)
    assert images.abs().max() <= 1
    generator.eval(), discriminator.eval()
    images, logits = generator(z), discriminator(images)
    assert logits.shape == (6,)
    assert discriminator(images[:1]).shape == (1,)
    torch.testing.assert_close(torch.cat([generator(row[None]) for row in z]), images, rtol=0, atol=1e-5)


@pytest.mark.parametrize("make", [lambda: MLPDiscriminator([8], "spectral"), lambda: DCGANDiscriminator(4, "spectral")])
def test_spectral_normalisation_bounds_the_lipschitz_constant(make: Callable[[], nn.Module]) -> None:
    discriminator, images, change = make(), torch.randn(8, 1, 28, 28), torch.randn(8, 1, 28, 28)
    for _ in range(50):  # each pass in train mode improves the estimate of the largest singular value
        discriminator(images)
    layers = [layer for layer in discriminator.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    norms = [torch.linalg.matrix_norm(layer.weight.flatten(1), ord=2).item() for layer in layers]
    assert norms == pytest.approx([1] * len(layers), rel=0.05)
    if all(isinstance(layer, nn.Linear) for layer in layers):
        difference = (discriminator(images + change) - discriminator(images)).abs()
        assert (difference <= 1.1 * change.flatten(1).norm(dim=1)).all()


@pytest.mark.parametrize(
    ("make", "arguments", "words"),
    [
        (MLPGenerator, {"latent_dim": 0}, "latent_dim is 0; write 1 or more"),
        (MLPGenerator, {"widths": []}, r"widths is \[\]; write numbers of 1 or more"),
        (MLPGenerator, {"normalisation": "group"}, "normalisation is 'group'; write one of batch, layer, none"),
        (MLPDiscriminator, {"widths": [4, 0]}, r"widths is \[4, 0\]; write numbers of 1 or more"),
        (MLPDiscriminator, {"normalisation": "batch"}, "normalisation is 'batch'; write one of spectral, none"),
        (DCGANGenerator, {"channels": -1}, "channels is -1"),
        (DCGANGenerator, {"normalisation": "layer"}, "normalisation is 'layer'; write one of batch, none"),
        (DCGANDiscriminator, {"channels": 0}, "channels is 0"),
        (DCGANDiscriminator, {"normalisation": "layer"}, "normalisation is 'layer'; write one of batch, spec"),
        (MLPConvGenerator, {"channels": 0}, "channels is 0"),
        (PixelUnshuffleDiscriminator, {"width": 0}, "width is 0"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_wrong_arguments_are_refused(make: Callable[..., nn.Module], arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make(**arguments)


@given(st.integers(-6, 6), st.integers(-6, 6), st.integers(-6, 6))
def test_translation_moves_each_image_by_its_shift(down: int, right: int, other: int) -> None:
    images = torch.full((2, 1, 6, 6), -1.0)
    images[:, :, 2:4, 2:4] = torch.rand(2, 1, 2, 2)
    moved = translate(images, torch.tensor([[down, right], [other, 0]]))
    for image, result, shift in zip(images, moved, ((down, right), (other, 0)), strict=True):
        by_hand = torch.full((18, 18), -1.0)
        by_hand[6 + shift[0] : 12 + shift[0], 6 + shift[1] : 12 + shift[1]] = image[0]
        assert torch.equal(result[0], by_hand[6:12, 6:12])


def test_translation_is_differentiable() -> None:
    images = torch.zeros(1, 1, 3, 3, requires_grad=True)
    weight = torch.arange(9.0).view(1, 1, 3, 3)
    (translate(images, torch.tensor([[1, -1]])) * weight).sum().backward()
    assert images.grad is not None
    assert images.grad[0, 0].tolist() == [[0, 3, 4], [0, 6, 7], [0, 0, 0]]


def test_random_shifts_cover_their_range_and_repeat() -> None:
    shifts = random_shifts(500, 2, torch.Generator().manual_seed(1))
    assert len(shifts.unique(dim=0)) == 25
    assert shifts.abs().max() == 2
    assert torch.equal(shifts, random_shifts(500, 2, torch.Generator().manual_seed(1)))


def test_sampling_leaves_a_network_in_train_mode_as_it_is() -> None:
    generator = MLPGenerator().train()
    before = {name: buffer.clone() for name, buffer in generator.named_buffers()}
    latents = torch.randn(9, generator.latent_dim)
    first, second = sample(generator, latents[:3]), sample(generator, latents)[:3]
    assert before  # BatchNorm's statistics
    torch.testing.assert_close(first, second)
    assert all(torch.equal(buffer, before[name]) for name, buffer in generator.named_buffers())
    assert generator.training
