"""How fast the textbook game runs: python -m benchmarks.gan_speed [--root DATA] [--peer PYTORCH_GAN]

Images per second of five contestants, all with the same number of threads, batches of 64 and the textbook networks.
They take turns of two seconds, see `benchmarks.interleaved_timing`; starting up and the end don't count:

- `twofold fit` with configs/gan_template.yaml as shipped: W&B, CSV, bar, pictures, evaluations and all.
- the same without W&B.
- the same with matrices multiplied in full precision, as PyTorch-GAN does.
- a bare loop of the same mathematics: same networks, stream, noise, precision, fused Adam, one pass of G, frozen
  opponent; it reads its summed losses every 50 batches.
- PyTorch-GAN's implementations/gan/gan.py, unmodified, of the commit below, where --peer names a checkout of
  https://github.com/eriklindernoren/PyTorch-GAN; without it the row is left out.

Writes benchmarks/results/gan_speed.csv: images per second, and the ratio to `twofold fit` in the same round; median and
quartiles over rounds of twelve turns each.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from pathlib import Path

import torch

from benchmarks.command import RESULTS
from benchmarks.digits import add_digits, real_digits
from benchmarks.interleaved_timing import MARK, Training, batches_per_second, fit
from benchmarks.timing import quartiles
from common.seeding import latent_noise, rng
from datamodules import MNISTDataModule
from datamodules.mnist import Source
from losses.gan import minimax_discriminator_loss, nonsaturating_generator_loss
from networks.mlp_gan import MLPDiscriminator, MLPGenerator
from scripts.jobs import read_shipped
from twofold.errors import OneLineParser, UsageError, exit_code
from twofold.provenance import CONFIGS, ROOT
from twofold.tables import write_rows

TABLE = RESULTS / "gan_speed.csv"
CONFIG = "gan_template"
PEER_COMMIT = "36d3c77e5ff20ebe0aeefd322326a134a279b93e"
PEER_FILE = "implementations/gan/gan.py"
BATCH_SIZE = 64
ROUNDS = 5


def bare(folder: Path, data: Path, source: Source) -> Training:
    """A loop without Lightning."""
    marks = folder / "marks"
    command = f"from benchmarks.gan_speed import loop; loop({str(data)!r}, {source!r}, {str(marks)!r})"
    return Training(subprocess.Popen([sys.executable, "-c", command], cwd=ROOT), marks)


def loop(root: str, source: Source, marks: str) -> None:
    """Trains until it is killed."""
    os.environ.pop("PYTORCH_NVML_BASED_CUDA_CHECK", None)  # which the datamodule's Lightning sets
    torch.set_float32_matmul_precision(read_shipped(CONFIG)["model"]["init_args"]["matmul_precision"])
    torch.manual_seed(1)
    data = MNISTDataModule(root, source, BATCH_SIZE, train_on_validation=True)
    data.setup()
    data.load_state_dict({"seed": 1})
    G, D = MLPGenerator(), MLPDiscriminator()
    adam = partial(torch.optim.Adam, lr=2e-4, betas=(0.9, 0.999), fused=True)
    g_optimizer, d_optimizer = adam(G.parameters()), adam(D.parameters())
    total = torch.zeros(2)
    batches = (images for _ in count() for images, _ in data.train_dataloader())
    with open(marks, "wb", buffering=0) as file:
        for batch, images in enumerate(batches):
            fakes = G(latent_noise(G, len(images), rng(1, "noise", batch)))
            d_loss = minimax_discriminator_loss(D(images), D(fakes.detach()))
            d_optimizer.zero_grad()
            d_loss.backward()
            d_optimizer.step()
            D.requires_grad_(False)
            fake = D(fakes)
            g_loss = nonsaturating_generator_loss(fake, fake)
            g_optimizer.zero_grad()
            g_loss.backward()
            g_optimizer.step()
            D.requires_grad_(True)
            total += torch.stack([d_loss.detach(), g_loss.detach()])
            if batch % 50 == 49:
                total.tolist()
            file.write(MARK)


def peers_script(checkout: Path) -> bytes:
    """PyTorch-GAN's script as it was at the commit.

    Raises:
        UsageError: when the checkout doesn't hold it.
    """
    show = ["git", "-C", str(checkout), "show", f"{PEER_COMMIT}:{PEER_FILE}"]
    shown = subprocess.run(show, check=False, capture_output=True)
    if shown.returncode != 0:
        raise UsageError(f"--peer {checkout} is no checkout of PyTorch-GAN with commit {PEER_COMMIT[:7]}")
    return shown.stdout


def peer(folder: Path, text: bytes, data: Path) -> Training:
    """PyTorch-GAN's script, which prints a line after each batch."""
    script = folder / PEER_FILE
    script.parent.mkdir(parents=True)
    script.write_bytes(text)
    shutil.copytree(data / "MNIST" / "raw", folder / "data" / "mnist" / "MNIST" / "raw")
    printed = folder / "printed"
    # Unbuffered, or its lines would come in bundles.
    with printed.open("wb") as file:
        process = subprocess.Popen([sys.executable, "-u", script.name], cwd=script.parent, stdout=file)
    return Training(process, printed, b"] [Batch ")


def main(arguments: Sequence[str] | None = None, results: Path = TABLE, rounds: int = ROUNDS) -> int:
    """Measures, prints and writes the table; returns the exit code."""
    parser = OneLineParser(prog="python -m benchmarks.gan_speed", description="images per second of the textbook game")
    add_digits(parser)
    parser.add_argument("--peer", type=Path, help="a checkout of PyTorch-GAN")
    options = parser.parse_args(arguments)
    peers = None if options.peer is None else peers_script(options.peer)
    fits = {
        "twofold fit": (),
        "twofold fit without W&B": ("--trainer.logger", "twofold.loggers.CSVLogger"),
        "twofold fit in full precision": ("--model.matmul_precision", "highest"),
    }
    root = real_digits(options.root, options.source).root.absolute()
    digits = ("--data.root", root, "--data.source", options.source)
    contestants: dict[str, Callable[[Path], Training]] = {
        name: partial(fit, config=CONFIGS / f"{CONFIG}.yaml", settings=(*digits, *settings))
        for name, settings in fits.items()
    }
    contestants["bare loop"] = partial(bare, data=root, source=options.source)
    if peers is None:
        print("PyTorch-GAN's row is left out; --peer names a checkout of it")
    else:
        contestants["PyTorch-GAN"] = partial(peer, text=peers, data=root)
    measured = batches_per_second(contestants, rounds)
    speeds = {name: [BATCH_SIZE * batches for batches in each] for name, each in measured.items()}
    rows = [row for name in speeds for row in summed_up(name, speeds[name], speeds["twofold fit"])]
    write_rows(results, list(rows[0]), rows)
    for row in rows:
        print(*row.values())
    return 0


def summed_up(name: str, speeds: Sequence[float], ours: Sequence[float]) -> list[dict[str, object]]:
    """The rows of one contestant: its speed, and `twofold fit`'s divided by it."""
    ratios = [a / b for a, b in zip(ours, speeds, strict=True)]
    return [
        {"who": name, "threads": torch.get_num_threads(), "what": what, "lower_quartile": f"{lower:.4g}"}
        | {"median": f"{median:.4g}", "upper_quartile": f"{upper:.4g}"}
        for what, (lower, median, upper) in (
            ("images per second", quartiles(speeds)),
            ("twofold fit / this", quartiles(ratios)),
        )
    ]


if __name__ == "__main__":
    sys.exit(exit_code("gan_speed", main, None))
