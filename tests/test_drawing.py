"""Grids, strips and pages: where things are, and that texts are legible under their own image."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFont

from callbacks.drawing import (
    GAP,
    GREY,
    STRIP_WIDTH,
    TEXT_HEIGHT,
    TEXT_SIZE,
    grid,
    page,
    strip,
    write_png,
)

BLACK = -torch.ones(1, 1, 28, 28)


def test_text_is_under_its_image_and_nowhere_else() -> None:
    images = BLACK.expand(5, -1, -1, -1)
    blank = np.asarray(grid(images, 3, ["", "", "", "", " "]))
    written = np.asarray(grid(images, 3, ["", "", "", "", "8: 100%"]))
    rows, columns = np.nonzero(blank != written)
    top, left = 4 + 60 + TEXT_HEIGHT + 56, 4 + 60
    assert top <= rows.min() <= rows.max() < top + TEXT_HEIGHT
    assert left < columns.min() <= columns.max() < left + 56
    assert written.max() > 240
    assert blank[top : top + TEXT_HEIGHT, left : left + 56].max() == GREY


def test_single_image_has_margins_and_text() -> None:
    single, two = (np.asarray(grid(BLACK.expand(n, -1, -1, -1), 2, ["8: 100%"] * n)) for n in (1, 2))
    assert single.shape == (4 + 56 + TEXT_HEIGHT + 4, 4 + 56 + 4)
    np.testing.assert_array_equal(single, two[:, : 4 + 56 + 4])


def test_any_prediction_fits_under_an_image() -> None:
    font = ImageFont.load_default(TEXT_SIZE)
    widths = [font.getlength(f"{digit}: {percent}%") for digit in range(10) for percent in (11, 88, 100)]
    assert max(widths) <= 56


@pytest.mark.parametrize("frames", [1, 2, 14, 15, 16, 29, 31, 46, 100])
def test_strip_has_few_rows_of_similar_length(frames: int) -> None:
    size = np.asarray(strip(BLACK.expand(frames, -1, -1, -1))).shape
    rows, columns = ((length - 4) // 60 for length in size)
    assert columns <= STRIP_WIDTH
    assert rows == -(-frames // STRIP_WIDTH)
    assert 0 <= rows * columns - frames < max(rows, 2)


def test_page_has_pictures_and_caption_on_white() -> None:
    pictures = [Image.new("L", (10, 20), 0), Image.new("L", (30, 5), 50)]
    made = np.asarray(page(pictures, "a caption that is wider than both"))
    assert (made[:20, :10] == 0).all()
    assert (made[20 + GAP : 25 + GAP, :30] == 50).all()
    assert (made[20 : 20 + GAP] == 255).all()
    assert (made[:20, 10:] == 255).all()
    assert (made[:, -3:] == 255).all(), "the caption ends before the edge"
    assert made[25 + GAP :].min() < 50


def test_grid_has_images_in_rows_over_the_caption(tmp_path: Path) -> None:
    images = torch.tensor([-1.0, 0.0, 1.0]).view(3, 1, 1, 1).expand(3, 1, 4, 4)
    write_png(page([grid(images, per_row=2)], "three shades"), tmp_path / "new" / "some.png")
    picture = np.asarray(Image.open(tmp_path / "new" / "some.png"))
    assert picture.shape[0] == 2 * 14 + 22
    expected = {(0, 0): 0, (0, 1): 128, (1, 0): 255, (1, 1): GREY}
    for (row, column), shade in expected.items():
        top, left = 4 + 12 * row, 4 + 12 * column
        assert np.unique(picture[top : top + 8, left : left + 8]).tolist() == [shade]
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["some.png"]
