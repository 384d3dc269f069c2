"""The generator file and the interpolation strip at the end of training."""

import copy
import itertools
import json
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from PIL import Image
from torch import Tensor

from callbacks import InterpolationStrip, interpolation_strip
from callbacks.drawing import predictions
from callbacks.generators import fixed_noise
from lightning_modules import GAN
from metrics.features import load_classifier
from metrics.interpolation import interpolate_latents
from networks.generator_files import load_generator
from networks.mlp_conv_gan import MLPConvGenerator, PixelUnshuffleDiscriminator
from networks.mlp_gan import MLPDiscriminator, MLPGenerator
from networks.registry import to_spec

Fit = Callable[..., Trainer]


def make_gan(generator: MLPGenerator, **arguments: Any) -> GAN:
    return GAN(generator, MLPDiscriminator(widths=[8]), **arguments)


class Unregistered(MLPGenerator):
    """A user's own generator, which isn't in the registry."""

    def forward(self, z: Tensor) -> Tensor:
        return -super().forward(z)


def shown(tmp_path: Path, frames: int) -> np.ndarray:
    """The frames in the strip's first row, (frames, 28, 28)."""
    pixels = np.asarray(Image.open(tmp_path / "interpolation.png"))[4:60:2, :, 0]
    return np.stack([pixels[:, 4 + 60 * place : 60 + 60 * place : 2] for place in range(frames)])


def expected(gan: GAN, interpolation: str) -> Tensor:
    """5 frames between the two of the 16 candidates whose images differ the most, found by trying all pairs."""
    generator, candidates = gan.sampling_generator.eval(), fixed_noise(gan, 16, "interpolation")
    with torch.no_grad():
        images = generator(candidates)
        pairs = itertools.combinations(range(16), 2)
        ends = max(pairs, key=lambda pair: float((images[pair[0]] - images[pair[1]]).square().sum()))
        frames: Tensor = generator(interpolate_latents(candidates[list(ends)], 5, interpolation))[:, 0]
    return (frames + 1) / 2 * 255


@pytest.mark.parametrize(
    ("network", "interpolation", "ema_decay"),
    [(MLPGenerator, "lerp", None), (MLPGenerator, "slerp", 0.9), (Unregistered, "lerp", None)],
)
def test_generator_is_saved_and_strip_leads_between_two_that_differ(
    fit: Fit, tmp_path: Path, network: type[MLPGenerator], interpolation: str, ema_decay: float | None
) -> None:
    gan = make_gan(network(latent_dim=5, widths=[8]), ema_decay=ema_decay)
    fit(gan, InterpolationStrip(steps=5, interpolation=interpolation))
    np.testing.assert_allclose(shown(tmp_path, 5), expected(gan, interpolation), atol=0.51)
    assert json.loads((tmp_path / "mnist_generator.json").read_text()) == {
        "network": {**to_spec(gan.generator), "name": network.__name__},
        "weights": "raw" if ema_decay is None else "ema",
        "step": 3,
        "data_source": "packaged",
    }
    loaded = load_generator(tmp_path / "mnist_generator.pth", network(latent_dim=5, widths=[8]))
    torch.testing.assert_close(loaded.state_dict(), gan.sampling_generator.state_dict(), atol=0, rtol=0)


def test_strip_is_made_by_the_loaded_file(fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = []

    def black(path: Path) -> Any:
        generator = load_generator(path)
        loaded.append(generator)
        torch.nn.init.zeros_(generator.layers[-2].weight)  # type: ignore[union-attr,index]
        torch.nn.init.constant_(generator.layers[-2].bias, -20)  # type: ignore[union-attr,index]
        return generator

    monkeypatch.setattr(interpolation_strip, "load_generator", black)
    gan = make_gan(MLPGenerator(latent_dim=5, widths=[8]))
    fit(gan, InterpolationStrip(steps=2))
    assert loaded[0] is not gan.generator
    assert shown(tmp_path, 2)[0].max() == 0


def test_strip_leads_from_digit_to_digit(
    fit: Fit, digit_painter: MLPGenerator, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    standstill = partial(torch.optim.SGD, lr=0.0)
    gan = make_gan(copy.deepcopy(digit_painter), generator_optimizer=standstill)
    fit(gan, InterpolationStrip(steps=3, digits=[3, 8, 1]))
    images = torch.from_numpy(shown(tmp_path, 5)).float()[:, None] / 127.5 - 1
    read = predictions(load_classifier(), images)
    assert [read[0], read[2], read[4]] == ["3: 100%", "8: 100%", "1: 100%"]
    picture = np.asarray(Image.open(tmp_path / "interpolation.png"))
    assert all(picture[60:76, 60 * n + 4 : 60 * n + 60, 0].max() > 240 for n in range(5)), "a text under each frame"
    assert not [warning for warning in recwarn if "the strip is" in str(warning.message)]


@pytest.mark.parametrize(
    ("latent_dim", "arguments", "words"),
    [
        (5, {"digits": [3, 8]}, "reads none of 4,096 images as a 3"),
        (1, {"interpolation": "slerp"}, "opposite directions"),
    ],
)
def test_impossible_strip_is_the_default_with_a_warning(
    fit: Fit, tmp_path: Path, latent_dim: int, arguments: dict[str, Any], words: str
) -> None:
    fit(make_gan(MLPGenerator(latent_dim, widths=[8])), InterpolationStrip(steps=4))
    default = (tmp_path / "interpolation.png").read_bytes()
    (tmp_path / "interpolation.png").unlink()
    torch.manual_seed(0)
    with pytest.warns(UserWarning, match=f"the strip is a lerp between two images that differ: .*{words}"):
        fit(make_gan(MLPGenerator(latent_dim, widths=[8])), InterpolationStrip(steps=4, **arguments))
    assert (tmp_path / "interpolation.png").read_bytes() == default


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"steps": 1}, "steps is 1; write 2 or more"),
        ({"interpolation": "curved"}, "interpolation is 'curved'; write lerp or slerp"),
        ({"digits": [3]}, "needs 2 or more waypoints, not 1"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        InterpolationStrip(**arguments)


@pytest.mark.parametrize(("classes", "highest"), [(0, 9), (3, 2), (12, 11), (26, None)])
def test_digits_are_classes(classes: int, highest: int | None, plain_trainer: Callable[..., Trainer]) -> None:
    module = GAN(MLPConvGenerator(4, [8, 8], classes=classes), PixelUnshuffleDiscriminator(2, 4, classes=classes))
    refused = pytest.raises(ValueError, match=f"digits holds 12; write digits from 0 to {highest}")
    with refused if highest else nullcontext():
        InterpolationStrip(digits=[1, 12]).on_train_start(plain_trainer(), module)
