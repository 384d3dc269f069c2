"""What the callbacks for generators share: the network to sample from, its noise, file, data and evaluations."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jaxtyping import Float
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor, nn

from callbacks.batches import batches_trained
from callbacks.drawing import trained_on
from callbacks.logging import log_numbers, warn_if_not_written
from common.eval_mode import evaluating
from common.files import replacing
from common.seeding import latent_noise, rng, run_seed
from metrics.features import Splits
from networks.conditional import Labels, classes_of
from networks.generator_files import save_generator
from networks.sampling import sample

REPORT_FILE = "quality.json"


def sampling_generator(module: LightningModule) -> nn.Module:
    """The generator to sample from: the module's `sampling_generator` if it has one, else its `generator`.

    Raises:
        ValueError: if the module has neither, or its generator doesn't say how long its noise is.
    """
    for name in ("sampling_generator", "generator"):
        network = getattr(module, name, None)
        if isinstance(network, nn.Module):
            if not isinstance(getattr(network, "latent_dim", None), int):
                raise ValueError(
                    f"{type(module).__name__}.{name} needs a whole number `latent_dim`, its noise's length"
                )
            return network
    raise ValueError(f"a {type(module).__name__} has no `generator` to sample from")


def generators(module: LightningModule) -> dict[str, nn.Module]:
    """The trained generator, "raw", and its moving average, "ema", if there is one."""
    sampled = sampling_generator(module)
    raw = getattr(module, "generator", sampled)
    return {"raw": raw} if sampled is raw else {"raw": raw, "ema": sampled}


def seed_of(module: LightningModule) -> int:
    """The module's `seed` if it is a number, else that of `lightning.seed_everything`, else a new one."""
    seed = getattr(module, "seed", None)
    return seed if isinstance(seed, int) else run_seed()


def fixed_noise(module: LightningModule, n: int, *key: int | str, seed: int | None = None) -> Float[Tensor, "n latent"]:
    """Noise that depends on the seed, by default the run's, and `key` alone, the same on every device."""
    return latent_noise(sampling_generator(module), n, rng(seed_of(module) if seed is None else seed, *key))


@contextmanager
def inference_state(network: nn.Module) -> Iterator[None]:
    """Puts `network` in eval mode without gradients; afterwards its modes and all random states are as before."""
    with isolate_rng(), evaluating(network):
        yield


def sample_images(
    module: LightningModule, noise: Float[Tensor, "n latent"], *labels: Labels
) -> Float[Tensor, "n channels height width"]:
    """The images of the generator to sample from, in eval mode; without labels of all classes in turn."""
    generator = sampling_generator(module)
    with inference_state(generator):
        return sample(generator, noise, *labels)


def save_sampling_generator(trainer: Trainer, module: LightningModule, path: Path) -> None:
    """Writes the generator to sample from as a generator file (see `networks.generator_files`)."""
    generator, data = sampling_generator(module), getattr(trainer, "datamodule", None)
    save_generator(
        generator,
        path,
        weights="ema" if "ema" in generators(module) else "raw",
        step=batches_trained(trainer),
        data_source=data_source(trainer),
        class_names=getattr(data, "class_names", ()) if classes_of(generator) else (),
    )


def may_write(trainer: Trainer) -> bool:
    """Whether this process writes files: only rank 0 does, and none in a `fast_dev_run`."""
    return trainer.is_global_zero and not trainer.fast_dev_run  # type: ignore[attr-defined]


def data_source(trainer: Trainer) -> str:
    """The datamodule's `data_source`: "torchvision" or "packaged"; "unnamed" if it has none."""
    return getattr(getattr(trainer, "datamodule", None), "data_source", None) or "unnamed"


def splits_of(trainer: Trainer, callback: Callback, compares: str, example: str) -> Splits:
    """The datamodule's images and their splits.

    Args:
        callback: which needs them.
        compares: what it compares with them, for the message.
        example: a datamodule that has them.

    Raises:
        ValueError: if it has none.
    """
    splits = getattr(getattr(trainer, "datamodule", None), "splits", None)
    if not isinstance(splits, Splits):
        name = type(callback).__name__
        raise ValueError(
            f"{name} compares {compares}, and this run's data has no `splits`; train with datamodule={example}(), or "
            f"leave {name} out"
        )
    return splits


def write_report(trainer: Trainer, content: Mapping[str, Any], final: Mapping[str, float]) -> None:
    """Writes the numbers of the evaluation at the end to `quality.json` and logs them.

    Args:
        content: of the file.
        final: by the names under which they are logged, at the step after the last batch's: if the run is extended,
            this row is dropped.
    """
    log_numbers(trainer, final, batches_trained(trainer))
    with warn_if_not_written(REPORT_FILE), replacing(Path(trainer.default_root_dir) / REPORT_FILE) as draft:
        draft.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def log_test(module: LightningModule, weights: str, numbers: Mapping[str, float]) -> None:
    """Logs the evaluation of the raw or the averaged generator in `test`."""
    logged = {f"test/{weights}/{name}": float(value) for name, value in numbers.items()}
    module.log_dict(logged, rank_zero_only=True)


def training_progress(trainer: Trainer) -> str:
    """How long and on which data the generator was trained so far; part of every caption."""
    return trained_on(batches_trained(trainer), data_source(trainer))
