"""Images of three channels are in colour in every picture; those of other shapes get one line."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import callbacks.logging
from callbacks import ImageGrid, InterpolationStrip, PredictionFiles
from lightning_modules import GAN
from networks import registry
from scripts.explorer.gan import GANExplorer
from scripts.explorer.model_index import ModelIndex
from scripts.interpolate import main as interpolate
from scripts.sample import main as sample

pytestmark = pytest.mark.filterwarnings(
    "ignore:the strip is a lerp", "ignore:The '.*_dataloader' does not have", "ignore:Couldn.t infer the batch indices"
)

COLOUR = (255, 0, 128)


class Plain(nn.Module):
    """A generator of images of one colour."""

    def __init__(self, shape: tuple[int, ...] = (3, 28, 28)) -> None:
        super().__init__()
        self.shape, self.latent_dim = shape, 4
        self.colour = nn.Parameter(torch.tensor([9.0, -9.0, 0.0, 0.0])[: shape[0]])

    def forward(self, z: Tensor) -> Tensor:
        return self.colour.tanh().view(-1, *[1] * (len(self.shape) - 1)).expand(len(z), *self.shape)


def fit_and_predict(make: Callable[..., Trainer], generator: nn.Module) -> None:
    images = torch.zeros(4, *generator(torch.zeros(1, 4)).shape[1:])
    discriminator = nn.Sequential(nn.Flatten(), nn.Linear(images[0].numel(), 1), nn.Flatten(0))
    gan = GAN(generator, discriminator, r1=1.0, diffaugment_translation=images.dim() - 3)
    loader = DataLoader(TensorDataset(images), batch_size=4)
    trainer = make(max_steps=1, callbacks=[ImageGrid(), InterpolationStrip(digits=[3, 8]), PredictionFiles()])
    trainer.fit(gan, loader, loader)
    trainer.predict(gan, loader)


@pytest.mark.parametrize("shape", [(3, 28, 28), (3, 20, 36)])
def test_three_channels_are_colour_in_every_picture(
    plain_trainer: Callable[..., Trainer],
    script: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    shape: tuple[int, ...],
) -> None:
    monkeypatch.setitem(registry._classes, "Plain", Plain)
    fit_and_predict(plain_trainer, Plain(shape))
    for out in ("grid.png", "folder"):
        assert script(sample, "mnist_generator.pth", "--n", 3, "--out", out)[0] == 0
    for out in ("strip.png", "morph.gif"):
        assert script(interpolate, "mnist_generator.pth", "--seeds", 1, 2, "--out", out)[0] == 0
    index = ModelIndex(tmp_path)
    [(_, name)] = index.generators()
    explorer, between = GANExplorer(index), ("seeds", 1, 2, "lerp")
    answers = explorer.frame(name, *between, 0.5), explorer.strip(name, *between), explorer.samples(name, 1)
    files = [path for ending in ("png", "gif") for path in tmp_path.rglob(f"*.{ending}")]
    assert len(files) == 1 + 1 + 4 + 1 + 3 + 2  # grid, strip, predictions; sample; interpolate
    for picture in [*(Image.open(path) for path in files), *(answer[0] for answer in answers)]:
        with picture:
            assert picture.convert("RGB").getpixel((10, 10)) == COLOUR
    code, _, error = script(interpolate, "mnist_generator.pth", "--digits", 3, 8, "--out", "38.png")
    assert (code, "takes images of the shape (1, 28, 28), not" in error) == (2, True)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("shape", [(2, 28, 28), (4, 28, 28), (3, 28)])
def test_other_shapes_are_one_line(
    plain_trainer: Callable[..., Trainer], tmp_path: Path, shape: tuple[int, ...]
) -> None:
    callbacks.logging._warnings.clear()
    words = r"pictures are made of images \(n, 1 or 3 channels, height, width\), not \("
    with (
        pytest.warns(UserWarning, match=f"(images/|interpolation.png) can't be written .{words}"),
        pytest.raises(ValueError, match=words),
    ):
        fit_and_predict(plain_trainer, Plain(shape))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mnist_generator.json", "mnist_generator.pth"]
