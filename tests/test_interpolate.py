"""`scripts.interpolate`: strips, animations, and mistakes in the arguments."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from callbacks.drawing import FRAME_MS, WAYPOINT_MS, predictions
from metrics.features import load_classifier
from metrics.interpolation import interpolate_latents
from networks.generator_files import save_generator
from networks.mlp_gan import MLPGenerator
from scripts.interpolate import between_seeds, main

Refuses = Callable[..., None]
Interpolate = Callable[[Path | str, str], tuple[int, str, str]]
CELL = 60
"""Pixels from one frame of a strip to the next."""
ROW = CELL + 16
"""From one row of frames to the next, with the texts."""


@pytest.fixture
def interpolate_small(script: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch) -> Interpolate:
    """`interpolate_small(file, "--digits 3 8 …")`: exit code, stdout, stderr, with few candidates for digits."""
    monkeypatch.setattr("metrics.interpolation.CANDIDATES", 1024)
    return lambda file, options: script(main, file, *options.split())


def frames(path: Path, row: int, top: int = 0, columns: int | None = None) -> np.ndarray:
    """The frames in a row of a strip, (columns, 28, 28)."""
    pixels = np.asarray(Image.open(path))[top + 4 + ROW * row :, :, 0]
    columns = pixels.shape[1] // CELL if columns is None else columns
    return np.stack([pixels[:56:2, 4 + CELL * column :][:, :56:2] for column in range(columns)])


def test_strip_passes_through_the_digits(interpolate_small: Interpolate, painter_file: Path, tmp_path: Path) -> None:
    code, printed, error = interpolate_small(painter_file, "--digits 3 8 1 --frames 4 --out new/381.png")
    assert (code, printed, error) == (0, "new/381.png\n", "")
    images = torch.from_numpy(frames(tmp_path / "new/381.png", row=0, columns=7)).float()[:, None] / 127.5 - 1
    read = predictions(load_classifier(), images)
    assert [read[0], read[3], read[6]] == ["3: 100%", "8: 100%", "1: 100%"]


@pytest.mark.parametrize("interpolation", ["lerp", "slerp"])
def test_each_strip_has_its_own_latents(
    interpolate_small: Interpolate, painter_file: Path, digit_painter: MLPGenerator, tmp_path: Path, interpolation: str
) -> None:
    options = f"--seeds 4 7 9 --frames 3 --strips 2 --interpolation {interpolation} --out strips.png"
    assert interpolate_small(painter_file, options) == (0, "strips.png\n", "")
    waypoints = between_seeds(digit_painter, [4, 7, 9], strips=2)
    assert [latents.shape for (latents,) in waypoints] == [(3, 2), (3, 2)]
    assert not torch.equal(*(latents for (latents,) in waypoints))
    height = 4 + ROW
    for place, (latents,) in enumerate(waypoints):
        shown = frames(tmp_path / "strips.png", row=0, top=place * (height + 12), columns=5)
        with torch.no_grad():
            images = digit_painter(interpolate_latents(latents, 3, interpolation))[:, 0]
        np.testing.assert_allclose(shown, (images + 1) / 2 * 255, atol=0.51)
    with Image.open(tmp_path / "strips.png") as picture:
        assert picture.height == 2 * height + 12 + 22


def test_animation_runs_there_and_back_in_a_loop(interpolate_small: Interpolate, tmp_path: Path) -> None:
    save_generator(MLPGenerator(5), tmp_path / "new.pth", weights="raw", step=0, data_source="packaged")
    options = "--seeds 3 8 1 --frames 4 --strips 3 --out new/381.gif"
    assert interpolate_small("new.pth", options) == (0, "new/381.gif\n", "")
    with Image.open(tmp_path / "new/381.gif") as animation:
        assert animation.format == "GIF"
        assert animation.info["loop"] == 0
        assert animation.n_frames == 2 * 6  # type: ignore[attr-defined]
        shown, durations = [], []
        for place in range(2 * 6):
            animation.seek(place)
            shown.append(np.asarray(animation.convert("L")))
            durations.append(animation.info["duration"])
    assert durations == [WAYPOINT_MS, FRAME_MS, FRAME_MS] * 4
    assert all(np.array_equal(shown[6 + step], shown[6 - step]) for step in range(6))
    assert not np.array_equal(shown[0], shown[6])
    first, second = (shown[0][10:150, left : left + 140] for left in (10, 160))
    assert not np.array_equal(first, second)


MISTAKES = [
    ("--out x.png", "one of the arguments --digits --seeds is required"),
    ("--digits 3 8 --seeds 1 2 --out x.png", "not allowed with argument --digits"),
    ("--digits 3 8 --out x.jpg", "--out: can't be x.jpg; write a name that ends in .png or .gif"),
    ("--digits 3 10 --out x.png", "the class is 10; write one of 0, 1, 2, 3, 4, 5, 6, 7, 8, 9"),
    ("--digits 3 --out x.png", "needs 2 or more waypoints, not 1"),
    ("--digits 3 8 --frames 1 --out x.png", "--frames: can't be 1; write a whole number, 2 or more"),
    ("--digits 3 8 --interpolation straight --out x.png", "argument --interpolation: invalid choice: 'straight'"),
    ("--digits 3 8 --strips 1000 --frames 2 --out x.png", "as a 3 with a confidence of 90% or more"),
]


@pytest.mark.usefixtures("interpolate_small")
def test_mistakes_get_one_line(refuses: Refuses, painter_file: Path) -> None:
    refuses(main, [(f"{painter_file.name} {options}", message) for options, message in MISTAKES])


def test_slerp_between_opposite_latents_is_refused(interpolate_small: Interpolate, tmp_path: Path) -> None:
    save_generator(MLPGenerator(1), tmp_path / "thin.pth", weights="raw", step=0, data_source="packaged")
    code, _, error = interpolate_small("thin.pth", "--seeds 1 2 3 4 5 --interpolation slerp --out x.png")
    assert code == 2
    assert "opposite directions; write interpolation: lerp" in error
