"""What callbacks that draw share: look at a network without leaving a trace, write a PNG."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jaxtyping import Float
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor, nn

from callbacks.drawing import grid, page, trained_on, write_png
from common.eval_mode import evaluating
from common.seeding import latent_noise, rng, run_seed
from networks.generator_files import save_generator


def sampling_generator(module: LightningModule) -> nn.Module:
    """The generator to draw from: what the module says, or simply its `generator`.

    Raises:
        ValueError: when the module has neither.
    """
    for name in ("sampling_generator", "generator"):
        network = getattr(module, name, None)
        if isinstance(network, nn.Module):
            return network
    raise ValueError(f"a {type(module).__name__} has no `generator` to draw pictures from")


def fixed_noise(module: LightningModule, n: int, purpose: str) -> Float[Tensor, "n latent"]:
    """Noise for pictures that depends on the run's seed and `purpose` alone, the same on every device."""
    return latent_noise(sampling_generator(module), n, rng(seed_of(module), purpose))


def seed_of(module: LightningModule) -> int:
    """The run's seed: the module's if it knows one, else that of `lightning.seed_everything`, else one drawn now."""
    seed = getattr(module, "seed", None)
    return run_seed() if seed is None else seed


def generators(module: LightningModule) -> dict[str, nn.Module]:
    """The generator as it is, "raw", and its average, "ema", if there is one."""
    sampled = sampling_generator(module)
    raw = getattr(module, "generator", sampled)
    return {"raw": raw} if sampled is raw else {"raw": raw, "ema": sampled}


def keep_generator(trainer: Trainer, module: LightningModule, path: Path) -> None:
    """Writes the generator to draw from as a generator file (see `networks.generator_files`)."""
    weights = "ema" if "ema" in generators(module) else "raw"
    facts: dict[str, Any] = {"step": trainer.global_step, "data_source": data_source(trainer)}
    save_generator(sampling_generator(module), path, weights=weights, **facts)


def may_write(trainer: Trainer) -> bool:
    """Whether this process leaves pictures on disk: rank 0 does, unless `fast_dev_run` only tries the code out."""
    return trainer.is_global_zero and not trainer.fast_dev_run  # type: ignore[attr-defined]


@contextmanager
def unnoticed(network: nn.Module) -> Iterator[None]:
    """Within, `network` is in eval mode without gradients; afterwards modes and random streams are as before."""
    with isolate_rng(), evaluating(network):
        yield


def data_source(trainer: Trainer) -> str:
    """What the images are learned from, as the datamodule names it: "torchvision", "packaged", or "unnamed"."""
    return getattr(getattr(trainer, "datamodule", None), "data_source", None) or "unnamed"


def origin(trainer: Trainer) -> str:
    """How much of what the images are learned from, in words that stand under every picture."""
    return trained_on(trainer.global_step, data_source(trainer))


def write_picture(images: Float[Tensor, "n 1 height width"], path: Path, per_row: int, caption: str) -> None:
    """Writes images in [−1, 1] as a PNG in rows of `per_row`, enlarged, over a line of text."""
    write_png(page([grid(images, per_row)], caption), path)
