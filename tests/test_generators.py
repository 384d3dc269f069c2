"""What callbacks that draw share."""

from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule
from PIL import Image

from callbacks.generators import fixed_noise, sampling_generator, write_picture
from lightning_modules import GAN
from networks.mlp_gan import MLPDiscriminator, MLPGenerator


def test_a_picture_lies_in_rows_over_its_caption(tmp_path: Path) -> None:
    shades = torch.tensor([-1.0, 0.0, 1.0]).view(3, 1, 1, 1).expand(3, 1, 4, 4)
    path = tmp_path / "new" / "some.png"
    write_picture(shades, path, per_row=2, caption="three shades")
    picture = np.asarray(Image.open(path))
    assert picture.shape[0] == 2 * 14 + 22
    corners = {(0, 0): 0, (0, 1): 128, (1, 0): 255, (1, 1): 76}  # margins, and the empty place, are 0.3
    for (row, column), shade in corners.items():
        top, left = 4 + 12 * row, 4 + 12 * column
        assert np.unique(picture[top : top + 8, left : left + 8]).tolist() == [shade]
    assert picture[-22:].min() < 100  # the caption's ink
    assert [file.name for file in path.parent.iterdir()] == ["some.png"]
    write_picture(shades, tmp_path / "other.png", per_row=2, caption="another word")
    other = np.asarray(Image.open(tmp_path / "other.png"))
    assert not np.array_equal(picture[-22:], other[-22:])
    np.testing.assert_array_equal(picture[:-22, :28], other[:-22, :28])


def test_noise_for_pictures_depends_on_seed_and_purpose(monkeypatch: pytest.MonkeyPatch) -> None:
    gan = GAN(MLPGenerator(latent_dim=5), MLPDiscriminator())
    gan.seed = 3
    noise = fixed_noise(gan, 4, "grid")
    assert noise.shape == (4, 5)
    torch.manual_seed(99)
    assert torch.equal(fixed_noise(gan, 4, "grid"), noise)
    assert not torch.equal(fixed_noise(gan, 4, "strip"), noise)
    gan.seed = None
    monkeypatch.setenv("PL_GLOBAL_SEED", "3")
    assert torch.equal(fixed_noise(gan, 4, "grid"), noise)
    monkeypatch.setenv("PL_GLOBAL_SEED", "4")
    assert not torch.equal(fixed_noise(gan, 4, "grid"), noise)


def test_a_module_that_has_no_generator_is_refused() -> None:
    with pytest.raises(ValueError, match="a LightningModule has no `generator`"):
        sampling_generator(LightningModule())
