"""The three GAN pairs: layers, shapes, ranges, initialisation, and DiffAugment's translation."""

from collections.abc import Callable

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


def kinds(network: nn.Module) -> list[type]:
    return [type(layer) for layer in network.layers]  # type: ignore[union-attr]


def widths(network: nn.Module) -> list[int]:
    """The widths of the linear layers, checked to fit each other."""
    layers = [module for module in network.modules() if isinstance(module, nn.Linear)]
    found = [layer.in_features for layer in layers] + [layers[-1].out_features]
    assert [layer.out_features for layer in layers] == found[1:]
    return found


def shapes(network: nn.Module, input: torch.Tensor) -> list[tuple[int, ...]]:
    """The shapes of one input after each layer that changes it."""
    found = [tuple(input.shape[1:])]
    for layer in network.layers:  # type: ignore[union-attr]
        input = layer(input)
        if tuple(input.shape[1:]) != found[-1]:
            found.append(tuple(input.shape[1:]))
    return found


def test_mlp_pair_is_that_of_pytorch_gan() -> None:
    hidden = [nn.Linear, nn.BatchNorm1d, nn.LeakyReLU]
    assert widths(MLPGenerator()) == [100, 128, 256, 512, 1024, 784]
    assert kinds(MLPGenerator()) == [nn.Linear, nn.LeakyReLU, *hidden * 3, nn.Linear, nn.Tanh]
    assert widths(MLPDiscriminator()) == [784, 512, 256, 1]
    assert kinds(MLPDiscriminator()) == [nn.Linear, nn.LeakyReLU, nn.Linear, nn.LeakyReLU, nn.Linear]
    slopes = {layer.negative_slope for layer in MLPGenerator().modules() if isinstance(layer, nn.LeakyReLU)}
    assert slopes == {0.2}


def test_widths_and_normalisation_of_the_mlps_are_as_given() -> None:
    generator = MLPGenerator(64, widths=[32, 48], normalisation="layer")
    assert widths(generator) == [64, 32, 48, 784]
    assert kinds(generator)[2:5] == [nn.Linear, nn.LayerNorm, nn.LeakyReLU]
    assert kinds(MLPGenerator(widths=[8, 9], normalisation="none")).count(nn.Linear) == 3
    assert widths(MLPDiscriminator(widths=[20])) == [784, 20, 1]


def test_dcgan_pair_is_that_of_the_paper() -> None:
    up, down, norm, leaky = nn.ConvTranspose2d, nn.Conv2d, nn.BatchNorm2d, nn.LeakyReLU
    assert kinds(DCGANGenerator()) == [nn.Linear, nn.Unflatten, norm, nn.ReLU, up, norm, nn.ReLU, up, nn.Tanh]
    assert kinds(DCGANDiscriminator()) == [down, leaky, down, norm, leaky, nn.Flatten, nn.Linear]
    generated = shapes(DCGANGenerator(), torch.randn(2, 100))
    assert generated == [(100,), (128 * 7 * 7,), (128, 7, 7), (64, 14, 14), (1, 28, 28)]
    logits = shapes(DCGANDiscriminator(), torch.randn(2, 1, 28, 28))
    assert logits == [(1, 28, 28), (64, 14, 14), (128, 7, 7), (128 * 7 * 7,), (1,)]
    for network in (DCGANGenerator(normalisation="none"), DCGANDiscriminator(normalisation="none")):
        assert norm not in kinds(network)
        for layer in network.modules():
            if isinstance(layer, nn.Linear | down | up) and layer.weight.numel() > 5000:
                assert layer.weight.std().item() == pytest.approx(0.02, rel=0.05)


def test_mlp_conv_pair_shapes() -> None:
    generated = shapes(MLPConvGenerator(8, [32, 48], 3, "layer"), torch.randn(2, 8))
    assert generated == [(8,), (32,), (48,), (3 * 14 * 14,), (3, 14, 14), (1, 28, 28)]
    found = shapes(PixelUnshuffleDiscriminator(5, 7), torch.randn(2, 1, 28, 28))
    assert found == [(1, 28, 28), (4, 14, 14), (5, 14, 14), (20, 7, 7), (10, 7, 7), (10 * 7 * 7,), (7,), (1,)]


def test_transposed_convolution_writes_overlapping_4x4_kernels() -> None:
    head = MLPConvGenerator(16, widths=[32], channels=3).layers[5]
    assert isinstance(head, nn.ConvTranspose2d)
    features = torch.zeros(1, 3, 14, 14)
    features[0, 1, 4, 6] = 1
    image = (head(features) - head(torch.zeros(1, 3, 14, 14)))[0, 0]
    torch.testing.assert_close(image[7:11, 11:15], head.weight[1, 0])
    image[7:11, 11:15] = 0
    assert image.abs().max() < 1e-6


def test_pixel_unshuffle_discriminator_standardises_its_input(digits: MNISTDataModule) -> None:
    digits.setup()
    inputs: list[torch.Tensor] = []
    discriminator = PixelUnshuffleDiscriminator()
    discriminator.layers.register_forward_pre_hook(lambda _, args: inputs.append(args[0]))
    discriminator(scaled(digits.digits.images[:2000]))
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
    ("make", "words"),
    [
        (lambda: MLPGenerator(latent_dim=0), "latent_dim is 0; write a positive number, such as 100"),
        (lambda: MLPGenerator(widths=[]), r"widths is \[\]; write one positive number for each hidden layer"),
        (lambda: MLPDiscriminator(widths=[4, 0]), r"widths is \[4, 0\]; write one positive number"),
        (lambda: MLPGenerator(normalisation="group"), "normalisation is 'group'; write batch, layer or none"),  # type: ignore[arg-type]
        (lambda: MLPDiscriminator(normalisation="batch"), "normalisation is 'batch'; write spectral or none"),  # type: ignore[arg-type]
        (lambda: DCGANGenerator(channels=-1), "latent_dim is 100 and channels is -1; write positive numbers"),
        (lambda: DCGANDiscriminator(0), "channels is 0; write a positive number, such as 64"),
        (lambda: DCGANGenerator(normalisation="layer"), "normalisation is 'layer'; write batch or none"),  # type: ignore[arg-type]
        (lambda: MLPConvGenerator(0), r"latent_dim is 0, widths \[256, 512, 512\] and channels 4; write positive"),
        (lambda: MLPConvGenerator(widths=[3, -1]), r"widths \[3, -1\]"),
        (lambda: PixelUnshuffleDiscriminator(0), "channels is 0 and width is 128; write positive numbers, such as 8"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_wrong_arguments_are_refused(make: Callable[[], nn.Module], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()


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
