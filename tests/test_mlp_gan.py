"""The textbook pair is the textbook's, layer by layer."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from networks.mlp_gan import MLPDiscriminator, MLPGenerator


def sizes(network: nn.Module) -> list[int]:
    """The widths that the linear layers join, checked to fit each other."""
    layers = [module for module in network.modules() if isinstance(module, nn.Linear)]
    widths = [layer.in_features for layer in layers] + [layers[-1].out_features]
    assert [layer.out_features for layer in layers] == widths[1:]
    return widths


def kinds(network: MLPGenerator | MLPDiscriminator) -> list[type]:
    return [type(layer) for layer in network.layers]


def test_generator_is_the_textbook_one() -> None:
    generator = MLPGenerator()
    hidden = [nn.Linear, nn.BatchNorm1d, nn.LeakyReLU]
    assert sizes(generator) == [100, 128, 256, 512, 1024, 784]
    assert kinds(generator) == [nn.Linear, nn.LeakyReLU, *hidden * 3, nn.Linear, nn.Tanh]
    for layer in generator.layers:
        if isinstance(layer, nn.LeakyReLU):
            assert layer.negative_slope == 0.2
        if isinstance(layer, nn.BatchNorm1d):
            assert str(layer) == str(nn.BatchNorm1d(layer.num_features))


def test_discriminator_is_the_textbook_one() -> None:
    discriminator = MLPDiscriminator()
    assert sizes(discriminator) == [784, 512, 256, 1]
    assert kinds(discriminator) == [nn.Linear, nn.LeakyReLU, nn.Linear, nn.LeakyReLU, nn.Linear]
    assert all(layer.negative_slope == 0.2 for layer in discriminator.layers if isinstance(layer, nn.LeakyReLU))


@pytest.mark.parametrize("latent_dim", [1, 64])
def test_images_are_in_range_and_each_logit_is_one_number(latent_dim: int) -> None:
    generator = MLPGenerator(latent_dim)
    images = generator(100 * torch.randn(5, latent_dim))
    assert generator.latent_dim == latent_dim
    assert images.shape == (5, 1, 28, 28)
    assert images.abs().max() <= 1
    assert MLPDiscriminator()(images).shape == (5,)
    assert MLPDiscriminator()(images[:1]).shape == (1,)


def test_logits_are_not_probabilities() -> None:
    logits = MLPDiscriminator()(1000 * torch.randn(50, 1, 28, 28))
    assert logits.min() < 0
    assert logits.max() > 1


def test_in_eval_mode_an_image_does_not_depend_on_its_neighbours() -> None:
    generator, z = MLPGenerator(), torch.randn(8, 100)
    together = generator.eval()(z)
    torch.testing.assert_close(torch.cat([generator(one[None]) for one in z]), together, rtol=0, atol=1e-6)
    assert not torch.allclose(generator.train()(z)[:4], generator(z[:4]), atol=1e-3)


def test_latent_dim_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match="latent_dim is 0; write a positive number, such as 100"):
        MLPGenerator(latent_dim=0)


def test_widths_and_normalisation_are_what_was_asked_for() -> None:
    generator = MLPGenerator(64, widths=[32, 48], normalisation="layer")
    assert sizes(generator) == [64, 32, 48, 784]
    assert kinds(generator) == [
        nn.Linear,
        nn.LeakyReLU,
        nn.Linear,
        nn.LayerNorm,
        nn.LeakyReLU,
        nn.Linear,
        nn.Tanh,
    ]
    assert kinds(MLPGenerator(widths=[8, 9], normalisation="none")).count(nn.Linear) == 3
    assert sizes(MLPDiscriminator(widths=[20])) == [784, 20, 1]


def test_spectral_normalisation_bounds_how_fast_a_logit_changes() -> None:
    discriminator = MLPDiscriminator(normalisation="spectral")
    images = torch.randn(64, 1, 28, 28)
    for _ in range(50):  # each pass in train mode brings its estimate of the largest singular value nearer
        discriminator(images)
    linear = [layer for layer in discriminator.layers if isinstance(layer, nn.Linear)]
    for layer in linear:
        assert torch.linalg.matrix_norm(layer.weight, ord=2).item() == pytest.approx(1, rel=0.05)
    step = torch.randn(64, 1, 28, 28)
    change = (discriminator(images + step) - discriminator(images)).abs()
    assert (change <= 1.1 * step.flatten(1).norm(dim=1)).all()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: MLPGenerator(widths=[]), r"widths is \[\]; write one positive number for each hidden layer"),
        (lambda: MLPDiscriminator(widths=[4, 0]), r"widths is \[4, 0\]; write one positive number"),
        (lambda: MLPGenerator(normalisation="group"), "normalisation is 'group'; write batch, layer or none"),  # type: ignore[arg-type]
        (lambda: MLPDiscriminator(normalisation="batch"), "normalisation is 'batch'; write spectral or none"),  # type: ignore[arg-type]
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_what_can_t_be_built_is_refused(make: Callable[[], nn.Module], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()
