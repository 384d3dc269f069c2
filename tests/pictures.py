"""Made-up pictures in folders."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("cat", "dog", "emu")


def write_pictures(
    root: Path, classes: Sequence[str] = CLASSES, each: int = 20, size: tuple[int, int] = (32, 32), mode: str = "RGB"
) -> Path:
    """Writes `class/00.png` and so on, each class of its own brightness; without classes `00.png`. Returns `root`."""
    random = np.random.default_rng(0)
    for number, name in enumerate(classes or [""]):
        (root / name).mkdir(parents=True, exist_ok=True)
        for picture in range(each):
            shape = (*size, 3) if mode == "RGB" else size
            pixels = random.integers(80 * number, 80 * number + 80, shape, dtype=np.uint8)
            Image.fromarray(pixels, mode).save(root / name / f"{picture:02d}.png")
    return root
