"""Grids, strips and pages: where things lie, and that texts are legible and keep to their own image."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFont
from torch import Tensor, nn

from callbacks.drawing import (
    GAP,
    GREY,
    STRIP_WIDTH,
    TEXT_HEIGHT,
    TEXT_SIZE,
    along,
    grid,
    page,
    readings,
    strip,
    trained_on,
    write_numbered,
)

BLACK = -torch.ones(1, 1, 28, 28)


def test_a_text_stands_under_its_image_and_nowhere_else() -> None:
    images = BLACK.expand(5, -1, -1, -1)
    blank = np.asarray(grid(images, 3, ["", "", "", "", " "]))
    written = np.asarray(grid(images, 3, ["", "", "", "", "8: 100%"]))
    rows, columns = np.nonzero(blank != written)
    top, left = 4 + 60 + TEXT_HEIGHT + 56, 4 + 60
    assert top <= rows.min() <= rows.max() < top + TEXT_HEIGHT
    assert left < columns.min() <= columns.max() < left + 56
    assert written.max() > 240
    assert blank[top : top + TEXT_HEIGHT, left : left + 56].max() == GREY


def test_any_reading_fits_under_an_image() -> None:
    font = ImageFont.load_default(TEXT_SIZE)
    widths = [font.getlength(f"{digit}: {percent}%") for digit in range(10) for percent in (11, 88, 100)]
    assert max(widths) <= 56


@given(st.integers(1, 100))
@settings(deadline=None)
def test_a_strip_is_never_wider_than_a_page_and_its_rows_are_about_as_long(frames: int) -> None:
    size = np.asarray(strip(BLACK.expand(frames, -1, -1, -1))).shape
    rows, columns = ((length - 4) // 60 for length in size)
    assert columns <= STRIP_WIDTH
    assert rows == -(-frames // STRIP_WIDTH)
    assert 0 <= rows * columns - frames < max(rows, 2)


def test_a_page_holds_pictures_and_the_whole_caption_on_white() -> None:
    pictures = [Image.new("L", (10, 20), 0), Image.new("L", (30, 5), 50)]
    made = np.asarray(page(pictures, "a caption that is wider than both"))
    assert (made[:20, :10] == 0).all()
    assert (made[20 + GAP : 25 + GAP, :30] == 50).all()
    assert (made[20 : 20 + GAP] == 255).all()
    assert (made[:20, 10:] == 255).all()
    assert (made[:, -3:] == 255).all(), "the caption ends before the edge"
    assert made[25 + GAP :].min() < 50


def test_shades_go_from_black_to_white_and_stay_there(tmp_path: Path) -> None:
    values = torch.tensor([-2.0, -1, 0, 1, 2])[:, None, None, None].expand(-1, 1, 2, 3)
    write_numbered(values, tmp_path / "new", first=7)
    files = sorted((tmp_path / "new").iterdir())
    assert [file.name for file in files] == [f"{number:06d}.png" for number in range(7, 12)]
    shades = [np.asarray(Image.open(file)) for file in files]
    assert all(shade.shape == (2, 3) for shade in shades)
    assert [int(shade.min()) for shade in shades] == [0, 0, 128, 255, 255]


class Certain(nn.Module):
    """Reads the digit in the first pixel, with nine times the probability of all others together."""

    def forward(self, images: Tensor) -> Tensor:
        digits = images[:, 0, 0, 0].long()
        return torch.full((len(images), 10), 1 / 90).scatter(1, digits[:, None], 0.9).log()


def test_a_reading_is_digit_and_confidence() -> None:
    images = torch.tensor([0.0, 7, 9])[:, None, None, None].expand(-1, 1, 28, 28)
    assert readings(Certain(), images) == ["0: 90%", "7: 90%", "9: 90%"]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (trained_on(6000, "torchvision"), "after 6,000 batches of MNIST"),
        (trained_on(1, "packaged"), "after 1 batch of the packaged digits"),
        (trained_on(2, "mine"), "after 2 batches of mine"),
        (along("lerp"), "a straight line"),
        (along("slerp", ["3", "8"]), "3 to 8 in an arc"),
    ],
)
def test_captions_in_words(said: str, words: str) -> None:
    assert said == words
