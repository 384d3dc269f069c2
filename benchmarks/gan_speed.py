"""How fast the textbook game runs: python -m benchmarks.gan_speed [--root DATA] [--peer PYTORCH_GAN]

Images per second of four contestants, by turns, all with the same number of threads, batches of 64 and the textbook
networks, counted between two batches of each, so that starting up and the end don't count:

- `twofold fit` with configs/gan_template.yaml as shipped: W&B, CSV, bar, pictures and all.
- the same without W&B.
- the same with matrices multiplied in full precision, as PyTorch-GAN does.
- a bare loop of the same mathematics: same networks, stream, noise, precision, fused Adam, one pass of G, frozen
  opponent; it reads its summed losses every 50 batches.
- PyTorch-GAN's implementations/gan/gan.py, unmodified, of the commit below, where --peer names a checkout of
  https://github.com/eriklindernoren/PyTorch-GAN; without it the row is left out.

Writes benchmarks/results/gan_speed.csv: images per second, and the ratio to `twofold fit` in the same round; median and
quartiles over rounds.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks.command import RESULTS, milliseconds_per_batch
from benchmarks.timing import by_turns, quartiles
from datamodules import MNISTDataModule
from networks.mlp_gan import MLPDiscriminator, MLPGenerator
from networks.objectives import cross_entropy, nonsaturating
from networks.seeding import generator, latent_noise
from runtime.errors import OneLineParser, exit_code
from runtime.provenance import CONFIGS, ROOT
from runtime.tables import write_rows
from scripts.jobs import read_shipped

TABLE = RESULTS / "gan_speed.csv"
CONFIG = "gan_template"
PEER_COMMIT = "36d3c77e5ff20ebe0aeefd322326a134a279b93e"
PEER_FILE = "implementations/gan/gan.py"
BATCH_SIZE = 64
FROM, TO = 100, 1100
"""The batches between which time counts."""
ROUNDS = 5


def fit(data: Path, *arguments: str) -> float:
    """Images per second of `twofold fit`, by its own stopwatch."""
    mnist = ("--data.root", data, "--data.source", "torchvision")
    return (
        1000 * BATCH_SIZE / milliseconds_per_batch(CONFIGS / f"{CONFIG}.yaml", *mnist, *arguments, first=FROM, last=TO)
    )


def bare(data: Path) -> float:
    """Images per second of a loop without Lightning, in a process of its own."""
    command = [sys.executable, "-c", f"from benchmarks.gan_speed import loop; print(loop({str(data)!r}))"]
    return float(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)


def loop(root: str) -> float:
    os.environ.pop("PYTORCH_NVML_BASED_CUDA_CHECK", None)  # which the datamodule's Lightning sets
    torch.set_float32_matmul_precision(read_shipped(CONFIG)["model"]["init_args"]["matmul_precision"])
    torch.manual_seed(1)
    data = MNISTDataModule(root, "torchvision", BATCH_SIZE, train_on_validation=True)
    data.setup()
    data.load_state_dict({"seed": 1})
    G, D = MLPGenerator(), MLPDiscriminator()
    adam = partial(torch.optim.Adam, lr=2e-4, betas=(0.9, 0.999), fused=True)
    g_optimizer, d_optimizer = adam(G.parameters()), adam(D.parameters())
    start, total, batches = 0.0, torch.zeros(2), 0
    while True:
        for images, _ in data.train_dataloader():
            fakes = G(latent_noise(G, len(images), generator(1, "noise", batches)))
            d_loss = cross_entropy(D(images), D(fakes.detach()))
            d_optimizer.zero_grad()
            d_loss.backward()
            d_optimizer.step()
            D.requires_grad_(False)
            fake = D(fakes)
            g_loss = nonsaturating(fake, fake)
            g_optimizer.zero_grad()
            g_loss.backward()
            g_optimizer.step()
            D.requires_grad_(True)
            total += torch.stack([d_loss.detach(), g_loss.detach()])
            batches += 1
            if batches % 50 == 0:
                total.tolist()
            if batches == FROM:
                start = time.perf_counter()
            if batches == TO:
                return (TO - FROM) * BATCH_SIZE / (time.perf_counter() - start)


def peer(checkout: Path, data: Path) -> float:
    """Images per second of PyTorch-GAN's script, by the lines that it prints."""
    with TemporaryDirectory() as folder:
        script = Path(folder) / PEER_FILE
        script.parent.mkdir(parents=True)
        show = ["git", "-C", str(checkout), "show", f"{PEER_COMMIT}:{PEER_FILE}"]
        script.write_bytes(subprocess.run(show, check=True, capture_output=True).stdout)
        raw = Path(folder) / "data" / "mnist" / "MNIST" / "raw"
        shutil.copytree(data / "MNIST" / "raw", raw)
        # Unbuffered, or its lines would come in bundles.
        command = [sys.executable, "-u", script.name]
        at: dict[int, float] = {}
        with subprocess.Popen(command, cwd=script.parent, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            try:
                for line in process.stdout:
                    if match := re.match(r"\[Epoch (\d+)/\d+\] \[Batch (\d+)/(\d+)\]", line):
                        epoch, batch, batches = map(int, match.groups())
                        at[epoch * batches + batch + 1] = time.perf_counter()
                        if TO in at:
                            return (TO - FROM) * BATCH_SIZE / (at[TO] - at[FROM])
            finally:
                process.kill()
    raise SystemExit(f"{PEER_FILE} ended before batch {TO}; what it complained stands above")


def main(arguments: Sequence[str] | None = None, results: Path = TABLE, rounds: int = ROUNDS) -> int:
    """Measures, prints and writes the table; returns the exit code."""
    parser = OneLineParser(prog="python -m benchmarks.gan_speed", description="images per second of the textbook game")
    parser.add_argument("--root", type=Path, default=Path("data"), help="the folder that holds MNIST/raw")
    parser.add_argument("--peer", type=Path, help="a checkout of PyTorch-GAN")
    options = parser.parse_args(arguments)
    contestants: dict[str, Callable[[], float]] = {
        "twofold fit": partial(fit, options.root),
        "twofold fit without W&B": partial(fit, options.root, "--trainer.logger", "runtime.loggers.CSVFiles"),
        "twofold fit in full precision": partial(fit, options.root, "--model.matmul_precision", "highest"),
        "bare loop": partial(bare, options.root),
    }
    if options.peer is None:
        print("PyTorch-GAN's row is left out; --peer names a checkout of it")
    else:
        contestants["PyTorch-GAN"] = partial(peer, options.peer, options.root)
    speeds = by_turns({name: partial(told, name, measure) for name, measure in contestants.items()}, rounds)
    rows = [row for name in speeds for row in summed_up(name, speeds[name], speeds["twofold fit"])]
    write_rows(results, list(rows[0]), rows)
    for row in rows:
        print(*row.values())
    return 0


def told(name: str, measure: Callable[[], float]) -> float:
    speed = measure()
    print(f"{name}: {speed:,.0f} images per second", flush=True)
    return speed


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
