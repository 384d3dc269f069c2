"""What a step of training costs as things grow: python -m benchmarks.scaling

A step is forward, backward and Adam, as the modules of this house do it but without Lightning. From one middle case of
each lesson one thing grows at a time: the length, the hidden size or the batch of the LSTM that names the last digit
(by torch's kernel, as `auto` chooses), and the batch of each pair of networks by the non-saturating loss.

Each case runs in a process of its own, on one thread. Its time is that of the process, which other programs hardly
change, for the quickest of five turns; its memory the growth at its peak, with what torch loads on the way (some 100
MB).

Writes into benchmarks/results scaling.csv, a row for each case, and scaling.png.
"""

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from matplotlib import pyplot as plt
from torch import nn

from benchmarks.command import RESULTS, start
from benchmarks.memory import peak_growth
from common.matmul_precision import matmul_precision
from lightning_modules import PalindromeLSTM
from losses.gan import minimax_discriminator_loss, nonsaturating_generator_loss
from networks.dcgan import DCGANDiscriminator, DCGANGenerator
from networks.mlp_conv_gan import MLPConvGenerator, PixelUnshuffleDiscriminator
from networks.mlp_gan import MLPDiscriminator, MLPGenerator
from scripts.plotting import panels
from twofold.tables import write_rows

TURNS = 5
SECONDS = 0.5
"""One turn takes at least so long."""

MIDDLE = {"length": 100, "hidden_size": 128, "batch_size": 128}
GROWING = {
    "length": (25, 50, 100, 200, 400, 1000, 4000),
    "hidden_size": (16, 32, 64, 128, 256, 512),
    "batch_size": (8, 32, 128, 512, 2048),
}
BATCHES = (4, 16, 64, 256, 1024)
PAIRS: Mapping[str, tuple[type[nn.Module], type[nn.Module]]] = {
    "mlp": (MLPGenerator, MLPDiscriminator),
    "brush and stroke": (MLPConvGenerator, PixelUnshuffleDiscriminator),
    "dcgan": (DCGANGenerator, DCGANDiscriminator),
}

Step = Callable[[], object]


def memory_step(length: int, hidden_size: int, batch_size: int) -> Step:
    """One step of the LSTM at palindromes."""
    module = PalindromeLSTM(hidden_size, init="forget_log", horizon=length)
    adam = torch.optim.Adam(module.parameters(), fused=True)
    digits, target = torch.randint(10, (batch_size, length - 1)), torch.randint(10, (batch_size,))

    def step() -> None:
        adam.zero_grad()
        F.cross_entropy(module(digits), target).backward()
        adam.step()

    return step


def game_step(
    pair: str, batch_size: int, bfloat16: bool = False, compiled: bool = False, products: str = "highest"
) -> Step:
    """One step of both networks, the discriminator first; `products` are as exact as `matmul_precision` says."""
    generator, discriminator = (network() for network in PAIRS[pair])
    g_adam, d_adam = (torch.optim.Adam(network.parameters(), fused=True) for network in (generator, discriminator))
    weights = list(generator.parameters())
    latent_dim: int = generator.latent_dim  # type: ignore[assignment]
    images = torch.rand(batch_size, 1, 28, 28) * 2 - 1
    if compiled:
        generator.compile()
        discriminator.compile()

    def step() -> None:
        with matmul_precision(products), torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            fakes = generator(torch.randn(batch_size, latent_dim)).float()
            real, fake = discriminator(torch.cat([images, fakes.detach()])).float().chunk(2)
            d_adam.zero_grad()
            minimax_discriminator_loss(real, fake).backward()
            d_adam.step()
            fake = discriminator(fakes).float()
            g_adam.zero_grad()
            nonsaturating_generator_loss(fake, fake).backward(inputs=weights)
            g_adam.step()

    return step


def cases() -> Iterator[tuple[dict[str, Any], Callable[[], Step]]]:
    """What stands in a row, and what makes the step."""
    for grows, values in GROWING.items():
        for value in values:
            sizes = {**MIDDLE, grows: value}
            yield {"network": "LSTM", "grows": grows, "value": value}, partial(memory_step, **sizes)
    for pair in PAIRS:
        for batch_size in BATCHES:
            yield {"network": pair, "grows": "batch_size", "value": batch_size}, partial(game_step, pair, batch_size)


def measure(make_step: Callable[[], Step], seconds: float = SECONDS) -> dict[str, float]:
    """The milliseconds of a step and the MB at its peak, in a process that does nothing else."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    torch.set_flush_denormal(True)
    step = make_step()
    peak = peak_growth(lambda: [step() for _ in range(2)])
    return {"ms": round(1000 * quickest(step, seconds), 3), "peak_mb": round(peak)}


def quickest(step: Step, seconds: float = SECONDS) -> float:
    """Seconds of this process's time for a step, in the quickest of some turns."""
    return min(turn(step, seconds) for _ in range(TURNS))


def turn(step: Step, seconds: float) -> float:
    """Seconds of this process's time for a step, in one turn."""
    begin, steps = time.process_time(), 0
    while (taken := time.process_time() - begin) < seconds or not steps:
        step()
        steps += 1
    return taken / steps


def draw(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Time and memory against what grows, both logarithmic; a line of slope 1 is proportional."""
    figure, axes = panels(4, per_row=2)
    for axis, (grows, values) in zip(axes, (*GROWING.items(), ("batch_size", BATCHES)), strict=True):
        axis.set(xscale="log", yscale="log", title=f"LSTM, {grows.replace('_', ' ')}")
        axis.set_xticks(values, [f"{value:,}" for value in values])
        axis.minorticks_off()
    for axis, grows in zip(axes, GROWING, strict=False):
        own = [row for row in rows if (row["network"], row["grows"]) == ("LSTM", grows)]
        for column, label in (("ms", "ms"), ("peak_mb", "MB at the peak")):
            axis.plot([row["value"] for row in own], [row[column] for row in own], marker=".", label=label)
    for pair in PAIRS:
        own = [row for row in rows if row["network"] == pair]
        axes[3].plot([row["value"] for row in own], [row["ms"] for row in own], marker=".", label=f"{pair}, ms")
    axes[3].set(title="the game, batch size")
    for axis in axes:
        axis.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(results: Path = RESULTS, seconds: float = SECONDS) -> None:
    """Measures, prints, writes and draws."""
    rows = []
    for facts, make_step in cases():
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            rows.append({**facts, **process.submit(measure, make_step, seconds).result()})
        print(*rows[-1].values(), flush=True)
        write_rows(results / "scaling.csv", list(rows[0]), rows)
    draw(rows, results / "scaling.png")


if __name__ == "__main__":
    sys.exit(start("scaling", main, __doc__))
