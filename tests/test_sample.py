"""Images from a generator file: what they show, that a seed repeats them, and what is refused."""

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


def test_a_folder_gets_numbered_images(
    script: Script, painter_file: Path, digit_painter: MLPGenerator, tmp_path: Path
) -> None:
    n = BATCH + 2
    assert script(main, painter_file, "--n", n, "--seed", 3, "--out", "new/samples") == (0, "new/samples\n", "")
    files = sorted((tmp_path / "new/samples").iterdir())
    assert [file.name for file in files] == [f"{number:06d}.png" for number in range(n)]
    pixels = np.stack([np.asarray(Image.open(file)) for file in files])
    np.testing.assert_allclose(pixels, expected(digit_painter, n, seed=3), atol=0.51)


@pytest.mark.parametrize(("n", "columns", "rows"), [(1, 1, 1), (2, 2, 1), (5, 3, 2), (9, 3, 3)])
def test_a_png_gets_a_grid(
    script: Script,
    painter_file: Path,
    digit_painter: MLPGenerator,
    tmp_path: Path,
    n: int,
    columns: int,
    rows: int,
) -> None:
    assert script(main, painter_file, "--n", n, "--out", "grid.png") == (0, "grid.png\n", "")
    picture = np.asarray(Image.open(tmp_path / "grid.png"))[..., 0]
    assert picture.shape[0] == 4 + 60 * rows + 22
    for place, image in enumerate(expected(digit_painter, n, seed=1)):
        top, left = 4 + 60 * (place // columns), 4 + 60 * (place % columns)
        np.testing.assert_allclose(picture[top : top + 56 : 2, left : left + 56 : 2], image, atol=0.51)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(script: Script, painter_file: Path) -> None:
    made = []
    for seed in (1, 1, 2):
        script(main, painter_file, "--n", 4, "--seed", seed, "--out", "grid.png")
        made.append(Path("grid.png").read_bytes())
    assert made[0] == made[1] != made[2]


MISTAKES = [
    ("--out", "argument --out: expected one argument"),
    ("", "the following arguments are required: --out"),
    ("--n 0 --out x.png", "--n is 0; write 1 or more"),
    ("--n -3 --out x", "--n is -3; write 1 or more"),
    ("--n many --out x", "--n can't be 'many'; write a whole number"),
    ("--seed -1 --out x", "--seed can't be -1; write a whole number from 0 to 4294967295"),
    ("--out x.npz", "--out x.npz is neither a .png nor a folder; write a name that ends in .png, or in none"),
    ("--out x.gif", "--out x.gif is neither a .png nor a folder"),
    ("--n 10001 --out x.png", "--n is 10,001, and a grid holds at most 10,000; write a folder's name for --out"),
    ("--out full", "full is a folder that holds something; write the name of a new one"),
    ("--out full/old.png/x.png", "can't write full/old.png/x.png: "),
    ("--out folder.png", "can't write folder.png: Is a directory"),
    ("--out full/old.png/folder", "can't write full/old.png/folder: "),
]


def test_a_mistake_gets_one_line_and_leaves_nothing(refuses: Refuses, painter_file: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/old.png").write_text("old")
    (tmp_path / "folder.png").mkdir()
    refuses(main, [(f"{painter_file.name} {options}", told) for options, told in MISTAKES])
    assert (tmp_path / "full/old.png").read_text() == "old"


def test_a_write_that_fails_leaves_the_old_picture(
    script: Script, painter_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def disk_full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "grid.png").write_text("old")
    before = sorted(tmp_path.iterdir())
    monkeypatch.setattr(Image.Image, "save", disk_full)
    told = (2, "", "sample: can't write grid.png: No space left on device\n")
    assert script(main, painter_file, "--out", "grid.png") == told
    assert (tmp_path / "grid.png").read_text() == "old"
    assert sorted(tmp_path.iterdir()) == before
