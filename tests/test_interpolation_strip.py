"""The generator file and the interpolation strip at the end of training."""

import copy
import itertools
import json
from collections.abc import Callable
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
from datamodules import MNISTDataModule
from lightning_modules import GAN
from metrics.features import load_classifier
from metrics.interpolation import interpolate_latents
from networks.generator_files import load_generator
from networks.mlp_gan import MLPDiscriminator, MLPGenerator
from networks.registry import to_spec

MakeTrainer = Callable[..., Trainer]


@pytest.fixture
def trained(plain_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch) -> Callable[..., GAN]:
    def train(generator: MLPGenerator, strip: InterpolationStrip, **arguments: Any) -> GAN:
        monkeypatch.setenv("PL_GLOBAL_SEED", "3")
        gan = GAN(generator, MLPDiscriminator(widths=[8]), **arguments)
        digits = MNISTDataModule(source="packaged", batch_size=8)
        plain_trainer(max_steps=3, callbacks=[strip]).fit(gan, datamodule=digits)
        return gan

    return train


@pytest.mark.parametrize("ema_decay", [None, 0.9])
def test_file_is_the_state_dict_of_the_sampling_generator(
    trained: Callable[..., GAN], tmp_path: Path, ema_decay: float | None
) -> None:
    gan = trained(MLPGenerator(latent_dim=5, widths=[8]), InterpolationStrip(), ema_decay=ema_decay)
    content = torch.load(tmp_path / "mnist_generator.pth", weights_only=True)
    torch.testing.assert_close(content, dict(gan.sampling_generator.state_dict()), atol=0, rtol=0)
    assert json.loads((tmp_path / "mnist_generator.json").read_text()) == {
        "network": to_spec(gan.generator),
        "weights": "raw" if ema_decay is None else "ema",
        "step": 3,
        "data_source": "packaged",
    }


def ends(gan: GAN) -> tuple[Tensor, Tensor]:
    """The two of the 16 candidates whose images differ the most, found by trying all pairs."""
    candidates = fixed_noise(gan, 16, "interpolation")
    with torch.no_grad():
        images = gan.generator.eval()(candidates)
    pairs = itertools.combinations(range(16), 2)
    start, end = max(pairs, key=lambda pair: float((images[pair[0]] - images[pair[1]]).square().sum()))
    return candidates[start], candidates[end]


def shown(tmp_path: Path, frames: int) -> np.ndarray:
    """The frames in the strip's first row, (frames, 28, 28)."""
    pixels = np.asarray(Image.open(tmp_path / "interpolation.png"))[4:60:2, :, 0]
    return np.stack([pixels[:, 4 + 60 * place : 60 + 60 * place : 2] for place in range(frames)])


@pytest.mark.parametrize("interpolation", ["lerp", "slerp"])
def test_strip_leads_between_two_that_differ(trained: Callable[..., GAN], tmp_path: Path, interpolation: str) -> None:
    strip = InterpolationStrip(steps=5, interpolation=interpolation)
    gan = trained(MLPGenerator(latent_dim=5, widths=[8]), strip)
    with torch.no_grad():
        images = gan.generator.eval()(interpolate_latents(torch.stack(ends(gan)), 5, interpolation))[:, 0]
    np.testing.assert_allclose(shown(tmp_path, 5), (images + 1) / 2 * 255, atol=0.51)


def test_strip_is_made_by_the_loaded_file(
    trained: Callable[..., GAN], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = []

    def black(path: Path) -> Any:
        generator = load_generator(path)
        loaded.append(generator)
        torch.nn.init.zeros_(generator.layers[-2].weight)  # type: ignore[union-attr,index]
        torch.nn.init.constant_(generator.layers[-2].bias, -20)  # type: ignore[union-attr,index]
        return generator

    monkeypatch.setattr(interpolation_strip, "load_generator", black)
    gan = trained(MLPGenerator(latent_dim=5, widths=[8]), InterpolationStrip(steps=2))
    assert loaded[0] is not gan.generator
    assert shown(tmp_path, 2)[0].max() == 0


class Unregistered(MLPGenerator):
    """A user's own generator, which isn't in the registry."""

    def forward(self, z: Tensor) -> Tensor:
        return -super().forward(z)


def test_unregistered_generator_works(trained: Callable[..., GAN], tmp_path: Path) -> None:
    gan = trained(Unregistered(latent_dim=5, widths=[8]), InterpolationStrip(steps=2))
    assert json.loads((tmp_path / "mnist_generator.json").read_text())["network"]["name"] == "Unregistered"
    start, _ = ends(gan)
    with torch.no_grad():
        image = gan.generator.eval()(start[None])[0, 0]
    np.testing.assert_allclose(shown(tmp_path, 1)[0], (image + 1) / 2 * 255, atol=0.51)
    noise = torch.randn(2, 5)
    loaded = load_generator(tmp_path / "mnist_generator.pth", Unregistered(latent_dim=5, widths=[8]))
    assert torch.equal(loaded(noise), gan.generator(noise))


def test_strip_leads_from_digit_to_digit(
    trained: Callable[..., GAN], digit_painter: MLPGenerator, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    standstill = partial(torch.optim.SGD, lr=0.0)
    strip = InterpolationStrip(steps=3, digits=[3, 8, 1])
    trained(copy.deepcopy(digit_painter), strip, generator_optimizer=standstill)
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
    trained: Callable[..., GAN], tmp_path: Path, latent_dim: int, arguments: dict[str, Any], words: str
) -> None:
    trained(MLPGenerator(latent_dim, widths=[8]), InterpolationStrip(steps=4))
    expected = (tmp_path / "interpolation.png").read_bytes()
    (tmp_path / "interpolation.png").unlink()
    torch.manual_seed(0)
    with pytest.warns(UserWarning, match=f"the strip is a lerp between two images that differ: .*{words}"):
        trained(MLPGenerator(latent_dim, widths=[8]), InterpolationStrip(steps=4, **arguments))
    assert (tmp_path / "interpolation.png").read_bytes() == expected


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"steps": 1}, "steps is 1; write 2 or more"),
        ({"interpolation": "curved"}, "interpolation is 'curved'; write lerp or slerp"),
        ({"digits": [3]}, "needs 2 or more waypoints, not 1"),
        ({"digits": [3, 12]}, "digits holds 12; write digits from 0 to 9"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        InterpolationStrip(**arguments)
