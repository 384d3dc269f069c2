"""Pictures of what a generator makes, for benchmarks that show several."""

from pathlib import Path

from callbacks.drawing import few_shades, grid, page, trained_on, write_png
from networks.files import load_generator, read_facts
from networks.sampling import draw
from networks.seeding import generator, latent_noise

SHOWN = 64


def draw_samples(weights: Path, picture: Path, seed: int) -> None:
    """64 images of a generator file over a line that says what it learned from; the noise is the same for all."""
    network = load_generator(weights)
    images = draw(network, latent_noise(network, SHOWN, generator(seed, "samples")))
    facts = read_facts(weights)
    write_png(few_shades(page([grid(images, per_row=8)], trained_on(facts["step"], facts["data_source"]))), picture)
