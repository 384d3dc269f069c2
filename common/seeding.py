"""Random numbers as a function of (seed, stream, step).

A run that draws the batch and the noise of step k only from here gets the same numbers whether or not it was killed and
resumed before step k:

    noise = torch.randn(64, 100, generator=rng(seed, "noise", step))
"""

import hashlib
import os
import random
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor, nn

HIGHEST_SEED = 2**32 - 1


def derive(seed: int, *key: int | str) -> int:
    """Returns a 63-bit number that depends on `seed` and all parts of `key`; other keys give unrelated numbers."""
    digest = hashlib.blake2b(repr((seed, *key)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def rng(seed: int, *key: int | str, device: torch.device | str = "cpu") -> torch.Generator:
    """Returns a torch generator on `device`, seeded by `derive(seed, *key)`; a CPU one uses the lower 32 bits.

    On an accelerator each stream, the seed with the words of the key, has one generator, which the next call for that
    stream seeds anew. On a CPU each call makes one.
    """
    names = [part for part in key if isinstance(part, str)]
    is_cpu = torch.device(device).type == "cpu"
    generator = torch.Generator(device) if is_cpu else _generator_of_stream(device, seed, *names)
    return generator.manual_seed(derive(seed, *key))


@lru_cache(maxsize=64)
def _generator_of_stream(device: torch.device | str, seed: int, *names: str) -> torch.Generator:
    return torch.Generator(device)


def reseed(seed: int, device: torch.device) -> None:
    """Seeds torch's global random states of the CPU and of `device`.

    `torch.manual_seed` also records a stack trace for every other device type, which takes as long as a small batch and
    is kept.
    """
    torch.default_generator.manual_seed(seed)
    if device.type != "cpu":
        getattr(torch, device.type).manual_seed(seed)


def latent_noise(network: nn.Module, n: int, rng: torch.Generator) -> Float[Tensor, "n latent"]:
    """Draws `n` standard normal vectors of length `network.latent_dim` on the generator's device."""
    latent_dim: int = network.latent_dim  # type: ignore[assignment]
    return torch.randn(n, latent_dim, generator=rng, device=rng.device)


def run_seed() -> int:
    """Returns the seed that `lightning.seed_everything` left in PL_GLOBAL_SEED, or else a random one."""
    given = os.environ.get("PL_GLOBAL_SEED")
    return int(given) if given else random.SystemRandom().randint(0, HIGHEST_SEED)
