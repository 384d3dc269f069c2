"""How far FID moves when other images are drawn: python -m benchmarks.fid_draws [GENERATOR] [--root DATA] [--draws 10]

A report measures 10,000 images, always from the same noise. Here the same generator makes several times as many from
other noise, the report's first, and each judge says how far they lie from the 10,000 test images. Without a file it is
the generator of configs/gan.yaml with seed 1 in `benchmarks.gan_recipes`, which is trained unless it is there.

Writes benchmarks/results/fid_draws.csv: for each judge the mean, standard deviation, lowest and highest FID.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev

from benchmarks.command import RESULTS
from benchmarks.digits import add_digits, real_digits
from benchmarks.gan_recipes import job_of
from benchmarks.verdicts import judges
from callbacks.interpolation_strip import GENERATOR_FILE
from datamodules import MNISTDataModule
from networks.quality_report import impression
from networks.sampling import draw
from networks.seeding import generator, latent_noise
from runtime.errors import OneLineParser, UsageError, exit_code
from runtime.run_folder import runs_root
from runtime.tables import rounded, write_rows
from scripts.bar import shown
from scripts.generator_files import open_generator
from scripts.reporting.scale import GAN_BATCHES
from scripts.trained_jobs import train

TABLE = RESULTS / "fid_draws.csv"


def main(arguments: Sequence[str] | None = None, table: Path = TABLE) -> int:
    """Draws, measures, prints and writes the table; returns the exit code."""
    parser = OneLineParser(prog="python -m benchmarks.fid_draws", description=__doc__)
    parser.add_argument("generator", type=Path, nargs="?", help="such as runs/gan/RUN/mnist_generator.pth")
    add_digits(parser)
    parser.add_argument("--draws", type=int, default=10)
    options = parser.parse_args(arguments)
    if options.draws < 2:
        raise UsageError(f"--draws is {options.draws}; write 2 or more")
    data = real_digits(options.root, options.source)
    network, facts = open_generator(options.generator or of_the_recipes(data))
    rows = []
    for judge, real in judges(data.root, data.source).items():
        fids = []
        for seed in range(options.draws):
            images = draw(network, latent_noise(network, real.samples, generator(seed, "report")))
            fids.append(real.frechet_distance(impression(real.judge, images).features))
            print(f"{judge}, draw {seed + 1}: {fids[-1].value:.3f}", flush=True)
        values = [fid.value for fid in fids]
        numbers = {"mean": mean(values), "deviation": stdev(values), "lowest": min(values), "highest": max(values)}
        told = {"step": facts["step"], "data_source": data.data_source, "draws": options.draws}
        rows.append({"judge": judge, **told, "samples": real.samples, "floor": fids[0].floor, **numbers})
    write_rows(table, list(rows[0]), map(rounded, rows))
    return 0


def of_the_recipes(data: MNISTDataModule) -> Path:
    """The file of the first generator of gan.yaml that `benchmarks.gan_recipes` trains."""
    job = job_of("gan", GAN_BATCHES, 1, data.source)
    with shown(job.batches) as bar:
        trained = train([job], runs_root() / "gan_recipes", str(data.root), bar)
    return trained[job.name].run.path / GENERATOR_FILE


if __name__ == "__main__":
    sys.exit(exit_code("fid_draws", main, None))
