"""Random numbers as a function of (seed, stream, step).

A run that draws batch k and the noise of step k from here, and from nothing else, sees the same numbers whether it got
to step k in one go or was killed and resumed on the way:

    noise = torch.randn(64, 100, generator=rng(seed, "noise", step))
"""

import hashlib
import os
import random

import torch
from jaxtyping import Float
from torch import Tensor, nn

HIGHEST_SEED = 2**32 - 1


def derive(seed: int, *key: int | str) -> int:
    """A 63-bit number that depends on `seed` and every part of `key`; other keys give unrelated numbers."""
    digest = hashlib.blake2b(repr((seed, *key)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def rng(seed: int, *key: int | str, device: torch.device | str = "cpu") -> torch.Generator:
    """A torch generator on `device`, seeded by `derive(seed, *key)`. (On the CPU torch uses the lower 32 bits.)"""
    return torch.Generator(device=device).manual_seed(derive(seed, *key))


def reseed(seed: int, device: torch.device) -> None:
    """Starts the global random streams of the CPU and of `device` from `seed`.

    `torch.manual_seed` also notes down, with a stack trace for each, what to do for every other kind of device, which
    takes as long as a small batch and is never forgotten.
    """
    torch.default_generator.manual_seed(seed)
    if device.type != "cpu":
        getattr(torch, device.type).manual_seed(seed)


def latent_noise(network: nn.Module, n: int, stream: torch.Generator) -> Float[Tensor, "n latent"]:
    """`n` standard normal vectors as long as `network.latent_dim` says, on the stream's device."""
    latent_dim: int = network.latent_dim  # type: ignore[assignment]
    return torch.randn(n, latent_dim, generator=stream, device=stream.device)


def run_seed() -> int:
    """The seed of `lightning.seed_everything`, which it leaves in PL_GLOBAL_SEED; without one, a seed drawn now."""
    given = os.environ.get("PL_GLOBAL_SEED")
    return int(given) if given else random.SystemRandom().randint(0, HIGHEST_SEED)
