"""Pictures of what a generator makes, for benchmarks that show several."""

from pathlib import Path

from callbacks.drawing import few_shades, grid, page, write_png
from common.seeding import latent_noise, rng
from networks.sampling import draw
from scripts.generator_files import open_generator

SHOWN = 64


def draw_samples(weights: Path, picture: Path, seed: int) -> None:
    """64 images of a generator file over a line that says what it learned from; the noise is the same for all."""
    trained = open_generator(weights)
    images = draw(trained.network, latent_noise(trained.network, SHOWN, rng(seed, "samples")))
    write_png(few_shades(page([grid(images, per_row=8)], trained.origin)), picture)
