"""The convolutional pair is that of the paper, for images of 28 × 28 pixels."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from networks.dcgan import DCGANDiscriminator, DCGANGenerator
from networks.registry import from_spec, to_spec


def shapes(network: nn.Module, input: torch.Tensor) -> list[tuple[int, ...]]:
    """What each layer that changes the shape makes of one input."""
    seen = [tuple(input.shape[1:])]
    for layer in network.layers:  # type: ignore[union-attr]
        input = layer(input)
        if tuple(input.shape[1:]) != seen[-1]:
            seen.append(tuple(input.shape[1:]))
    return seen


def test_shapes_are_those_in_the_file_s_head() -> None:
    assert shapes(DCGANGenerator(), torch.randn(2, 100)) == [
        (100,),
        (128 * 7 * 7,),
        (128, 7, 7),
        (64, 14, 14),
        (1, 28, 28),
    ]
    assert shapes(DCGANDiscriminator(), torch.randn(2, 1, 28, 28)) == [
        (1, 28, 28),
        (64, 14, 14),
        (128, 7, 7),
        (128 * 7 * 7,),
        (1,),
    ]


def kinds(network: DCGANGenerator | DCGANDiscriminator) -> list[type]:
    return [type(layer) for layer in network.layers]


def test_layers_are_the_paper_s() -> None:
    up, norm = nn.ConvTranspose2d, nn.BatchNorm2d
    assert kinds(DCGANGenerator()) == [nn.Linear, nn.Unflatten, norm, nn.ReLU, up, norm, nn.ReLU, up, nn.Tanh]
    leaky, down = nn.LeakyReLU, nn.Conv2d
    assert kinds(DCGANDiscriminator()) == [down, leaky, down, norm, leaky, nn.Flatten, nn.Linear]
    assert norm not in kinds(DCGANGenerator(normalisation="none"))
    assert norm not in kinds(DCGANDiscriminator(normalisation="none"))


def test_weights_start_small_as_in_the_paper() -> None:
    for network in (DCGANGenerator(), DCGANDiscriminator(normalisation="none")):
        for layer in network.modules():
            if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d) and layer.weight.numel() > 5000:
                assert layer.weight.std().item() == pytest.approx(0.02, rel=0.05)


@pytest.mark.parametrize("normalisation", ["batch", "none"])
def test_images_are_in_range(normalisation: str) -> None:
    images = DCGANGenerator(5, channels=4, normalisation=normalisation)(100 * torch.randn(6, 5))  # type: ignore[arg-type]
    assert images.shape == (6, 1, 28, 28)
    assert images.abs().max() <= 1
    assert DCGANDiscriminator(channels=4)(images).shape == (6,)


@pytest.mark.parametrize("normalisation", ["spectral", "none"])
def test_without_batchnorm_a_logit_doesn_t_depend_on_the_neighbours(normalisation: str) -> None:
    images = torch.randn(4, 1, 28, 28)
    apart = DCGANDiscriminator(4, normalisation).eval()  # type: ignore[arg-type]
    torch.testing.assert_close(torch.cat([apart(one[None]) for one in images]), apart(images))


def test_spectral_normalisation_bounds_every_weight() -> None:
    discriminator = DCGANDiscriminator(4, "spectral")
    for _ in range(50):
        discriminator(torch.randn(2, 1, 28, 28))
    weights = [layer.weight.flatten(1) for layer in discriminator.layers if isinstance(layer, nn.Conv2d | nn.Linear)]
    assert [torch.linalg.matrix_norm(w, ord=2).item() for w in weights] == pytest.approx([1, 1, 1], rel=0.05)


@pytest.mark.parametrize("network", [DCGANGenerator(7, 3, "none"), DCGANDiscriminator(3, "spectral")])
def test_a_checkpoint_can_name_them(network: nn.Module) -> None:
    again = from_spec(to_spec(network), nn.Module)
    again.load_state_dict(network.state_dict())
    assert to_spec(again) == to_spec(network)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: DCGANGenerator(0), "latent_dim is 0 and channels is 64; write positive numbers"),
        (lambda: DCGANGenerator(channels=-1), "latent_dim is 100 and channels is -1; write positive numbers"),
        (lambda: DCGANDiscriminator(0), "channels is 0; write a positive number, such as 64"),
        (lambda: DCGANGenerator(normalisation="layer"), "normalisation is 'layer'; write batch or none"),  # type: ignore[arg-type]
        (lambda: DCGANDiscriminator(normalisation="layer"), "normalisation is 'layer'; write batch, spectral or none"),  # type: ignore[arg-type]
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_what_can_t_be_built_is_refused(make: Callable[[], nn.Module], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()
