"""The pair that paints with channels and looks at strokes."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from datamodules import MNISTDataModule
from metrics.features import scaled
from networks.mlp_conv_gan import MLPConvGenerator, PixelUnshuffleDiscriminator
from networks.registry import from_spec, to_spec


@pytest.mark.parametrize("latent_dim", [1, 64])
def test_images_are_in_range_and_each_logit_is_one_number(latent_dim: int) -> None:
    generator = MLPConvGenerator(latent_dim)
    images = generator(100 * torch.randn(5, latent_dim))
    assert images.shape == (5, 1, 28, 28)
    assert images.abs().max() <= 1
    assert PixelUnshuffleDiscriminator()(images).shape == (5,)
    assert PixelUnshuffleDiscriminator()(images[:1]).shape == (1,)


def test_a_brush_pressed_at_one_place_leaves_its_stroke_there_and_nothing_elsewhere() -> None:
    generator = MLPConvGenerator(16, widths=[32], channels=3)
    pressing, painting = generator.layers[2], generator.layers[5]
    assert isinstance(pressing, nn.Linear)
    assert pressing.out_features == 3 * 14 * 14
    assert isinstance(painting, nn.ConvTranspose2d)
    pressed = torch.zeros(1, 3, 14, 14)
    pressed[0, 1, 4, 6] = 1
    stroke = (painting(pressed) - painting(torch.zeros(1, 3, 14, 14)))[0, 0]
    torch.testing.assert_close(stroke[7:11, 11:15], painting.weight[1, 0])
    stroke[7:11, 11:15] = 0
    assert stroke.abs().max() < 1e-6


def test_the_discriminator_sees_pixels_of_mean_0_and_deviation_1(digits: MNISTDataModule) -> None:
    digits.setup()
    seen: list[torch.Tensor] = []
    discriminator = PixelUnshuffleDiscriminator()
    discriminator.layers.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    discriminator(scaled(digits.digits.images))  # 5,000 of MNIST's
    assert seen[0].mean().item() == pytest.approx(0, abs=0.02)
    assert seen[0].std().item() == pytest.approx(1, abs=0.02)


def test_widths_and_normalisation_are_what_was_asked_for() -> None:
    generator = MLPConvGenerator(8, widths=[32, 48], normalisation="layer")
    assert [layer.out_features for layer in generator.layers if isinstance(layer, nn.Linear)] == [32, 48, 4 * 196]
    assert [type(layer) for layer in generator.layers].count(nn.LayerNorm) == 1
    convolutions = [layer for layer in PixelUnshuffleDiscriminator(3, 7).layers if isinstance(layer, nn.Conv2d)]
    assert [layer.out_channels for layer in convolutions] == [3, 6]


@pytest.mark.parametrize("network", [MLPConvGenerator(8, (16, 24), 2, "none"), PixelUnshuffleDiscriminator(3, 7)])
def test_files_can_name_them(network: nn.Module) -> None:
    description = to_spec(network)
    assert to_spec(from_spec(description, nn.Module)) == description
    assert description["arguments"]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: MLPConvGenerator(0),
            r"latent_dim is 0, widths \[256, 512, 512\] and channels 4; write positive numbers",
        ),
        (lambda: MLPConvGenerator(channels=0), "and channels 0; write positive numbers"),
        (lambda: MLPConvGenerator(widths=[]), r"widths \[\] and channels 4; write positive numbers"),
        (lambda: MLPConvGenerator(widths=[3, -1]), r"widths \[3, -1\]"),
        (lambda: MLPConvGenerator(normalisation="group"), "normalisation is 'group'; write batch, layer or none"),  # type: ignore[arg-type]
        (
            lambda: PixelUnshuffleDiscriminator(0),
            "channels is 0 and width is 128; write positive numbers, such as 8 and 128",
        ),
        (lambda: PixelUnshuffleDiscriminator(width=-2), "width is -2"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_what_can_t_be_built_is_refused(make: Callable[[], nn.Module], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()
