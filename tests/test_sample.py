"""`scripts.sample`: images, their files, and mistakes in the arguments."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from common.seeding import latent_noise, rng
from networks.mlp_gan import MLPGenerator
from networks.sampling import BATCH
from scripts.sample import main

Script = Callable[..., tuple[int, str, str]]
Refuses = Callable[..., None]


def expected(network: MLPGenerator, n: int, seed: int) -> np.ndarray:
    """Pixels from 0 to 255, (n, 28, 28)."""
    with torch.no_grad():
        images: torch.Tensor = network(latent_noise(network, n, rng(seed, "sample")))
    return ((images[:, 0] + 1) / 2 * 255).numpy()


def test_folder_gets_numbered_images(
    script: Script, painter_file: Path, digit_painter: MLPGenerator, tmp_path: Path
) -> None:
    n = BATCH + 2
    assert script(main, painter_file, "--n", n, "--seed", 3, "--out", "new/samples") == (0, "new/samples\n", "")
    files = sorted((tmp_path / "new/samples").iterdir())
    assert [file.name for file in files] == [f"{number:06d}.png" for number in range(n)]
    pixels = np.stack([np.asarray(Image.open(file)) for file in files])
    np.testing.assert_allclose(pixels, expected(digit_painter, n, seed=3), atol=0.51)


@pytest.mark.parametrize(("n", "columns"), [(1, 1), (5, 3), (9, 3)])
def test_png_gets_a_grid(
    script: Script, painter_file: Path, digit_painter: MLPGenerator, tmp_path: Path, n: int, columns: int
) -> None:
    assert script(main, painter_file, "--n", n, "--out", "grid.png") == (0, "grid.png\n", "")
    picture = np.asarray(Image.open(tmp_path / "grid.png"))[..., 0]
    for place, image in enumerate(expected(digit_painter, n, seed=1)):
        top, left = 4 + 60 * (place // columns), 4 + 60 * (place % columns)
        np.testing.assert_allclose(picture[top : top + 56 : 2, left : left + 56 : 2], image, atol=0.51)


MISTAKES = [
    ("--n 0 --out x.png", "--n: can't be 0; write a whole number, 1 or more"),
    ("--seed -1 --out x", "--seed: can't be -1; write a whole number, 0 to 4294967295"),
    ("--out x.gif", "--out can't be x.gif; write a name that ends in .png, or a folder's name"),
    ("--out full", "--out can't be full, a folder that isn't empty; write the name of a new one"),
]


def test_mistakes_get_one_line(refuses: Refuses, painter_file: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/old.png").write_text("old")
    refuses(main, [(f"{painter_file.name} {options}", message) for options, message in MISTAKES])
    assert (tmp_path / "full/old.png").read_text() == "old"
