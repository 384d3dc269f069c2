"""The cost of single training steps, without Lightning: python -m benchmarks.steps [scaling] [precision]

- scaling: a step as the length, the hidden size or the batch size grows. One thread; the process's own time, in the
  quickest of five turns; the growth of a new process at its peak. Writes scaling.csv.
- precision: the same of a GAN step at batch size 64 in float32, with bfloat16 factors of matrix products (`medium`), or
  under bfloat16 autocast, with and without `torch.compile`. Writes bfloat16.csv.

The forget bias starts at log T, so that gradients don't underflow; see `benchmarks.lstm_kernels`.
"""

import os
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import product
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.command import no_options, run
from benchmarks.results import Results
from benchmarks.timing import in_new_process, milliseconds, peak_growth
from common.matmul_precision import matmul_precision
from lightning_modules import PalindromeLSTM
from losses.gan import minimax_discriminator_loss, nonsaturating_generator_loss
from networks.dcgan import DCGANDiscriminator, DCGANGenerator
from networks.mlp_conv_gan import MLPConvGenerator, PixelUnshuffleDiscriminator
from networks.mlp_gan import MLPDiscriminator, MLPGenerator

Step = Callable[[], object]

SIZES = {"length": 100, "hidden_size": 128, "batch_size": 128}
GROWING = {
    "length": (25, 50, 100, 200, 400, 1000, 4000),
    "hidden_size": (16, 32, 64, 128, 256, 512),
    "batch_size": (8, 32, 128, 512, 2048),
}
GAN_BATCH_SIZES = (4, 16, 64, 256, 1024)
PAIRS: Mapping[str, tuple[type[nn.Module], type[nn.Module]]] = {
    "mlp": (MLPGenerator, MLPDiscriminator),
    "mlp_conv": (MLPConvGenerator, PixelUnshuffleDiscriminator),
    "dcgan": (DCGANGenerator, DCGANDiscriminator),
}
TURNS = 5
SECONDS = 0.5
"""The least time of a turn."""


def scaling(options: Namespace) -> None:
    """A step as one size grows."""
    results = Results(options.out / "scaling.csv", "network", "grows", "value")
    for columns, make_step in scaling_cases():
        results.add({**columns, **in_new_process(measure_step, make_step, SECONDS)})


def scaling_cases() -> Iterator[tuple[dict[str, Any], Callable[[], Step]]]:
    """The first columns of each row, and a function that makes the step."""
    for grows, values in GROWING.items():
        for value in values:
            columns = {"network": "LSTM", "grows": grows, "value": value}
            yield columns, partial(palindrome_step, **{**SIZES, grows: value})
    for pair, batch_size in product(PAIRS, GAN_BATCH_SIZES):
        columns = {"network": pair, "grows": "GAN batch size", "value": batch_size}
        yield columns, partial(gan_step, pair, batch_size)


def palindrome_step(length: int, hidden_size: int, batch_size: int) -> Step:
    """Forward, backward and Adam of the palindrome LSTM."""
    module = PalindromeLSTM(hidden_size, init="forget_log", horizon=length)
    adam = torch.optim.Adam(module.parameters(), fused=True)
    digits, target = torch.randint(10, (batch_size, length - 1)), torch.randint(10, (batch_size,))

    def step() -> None:
        adam.zero_grad()
        F.cross_entropy(module(digits), target).backward()
        adam.step()

    return step


def gan_step(pair: str, batch_size: int, compiled: bool = False, precision: str = "32-true") -> Step:
    """A step of D and one of G; `precision` is 32-true, medium (matrix products in bfloat16) or bf16-mixed."""
    generator, discriminator = (network() for network in PAIRS[pair])
    g_adam, d_adam = (torch.optim.Adam(network.parameters(), fused=True) for network in (generator, discriminator))
    weights = list(generator.parameters())
    latent_dim: int = generator.latent_dim  # type: ignore[assignment]
    images = torch.rand(batch_size, 1, 28, 28) * 2 - 1
    if compiled:
        generator.compile()
        discriminator.compile()

    def step() -> None:
        with (
            matmul_precision("medium" if precision == "medium" else "highest"),
            torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed"),
        ):
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


def measure_step(make_step: Callable[[], Step], seconds: float) -> dict[str, float]:
    """Milliseconds of a step, MB at its peak and seconds of the first step, in a process that does nothing else."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    torch.set_flush_denormal(True)
    with TemporaryDirectory() as cache:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache  # nothing is compiled before the first step
        step = make_step()
        first: list[float] = []
        peak = peak_growth(lambda: first.extend((milliseconds(step), milliseconds(step))))
        ms = min(turn(step, seconds) for _ in range(TURNS))
    return {"ms": ms, "peak_mb": round(peak), "first_step_seconds": first[0] / 1000}


def turn(step: Step, seconds: float) -> float:
    """Milliseconds of CPU time per step, over at least some seconds."""
    start, steps = time.process_time(), 0
    while (taken := time.process_time() - start) < seconds or not steps:
        step()
        steps += 1
    return 1000 * taken / steps


PRECISIONS = ("32-true", "medium", "bf16-mixed")


def precision(options: Namespace) -> None:
    """What bfloat16 and compiling gain on a CPU."""
    results = Results(options.out / "bfloat16.csv", "pair", "compiled", "precision")
    for pair, compiled, name in product(PAIRS, (False, True), PRECISIONS):
        measured = in_new_process(measure_step, partial(gan_step, pair, 64, compiled, name), SECONDS)
        results.add({"pair": pair, "compiled": compiled, "precision": name, **measured})


BENCHMARKS = {"scaling": scaling, "precision": precision}
main = partial(run, "steps", __doc__, BENCHMARKS, no_options)

if __name__ == "__main__":
    sys.exit(main())
