"""Settings that are refused: Lightning and torch would accept them, and train something else than they say."""

import inspect
import os
from argparse import Namespace
from collections.abc import Mapping, Sequence
from inspect import Parameter
from pkgutil import resolve_name
from types import NoneType
from typing import Any, get_args

from lightning.fabric.plugins.environments import SLURMEnvironment, TorchElasticEnvironment
from lightning.pytorch import Trainer

from common.schedules import SCHEDULE_LENGTHS
from common.seeding import HIGHEST_SEED
from datamodules import ImageDataModule
from lightning_modules.gan_arguments import PENALTIES
from networks.registry import to_plain
from twofold.errors import UsageError
from twofold.resume import leaves, typed
from twofold.threads import HIGHEST, is_on_cpu

PRECISIONS = {
    **{name: name for name in ("32-true", "64-true", "bf16-mixed", "16-mixed")},
    "16": "16-mixed",
    "bf16": "bf16-mixed",
    "32": "32-true",
    "64": "64-true",
    "None": "32-true",
}
"""Networks with weights of 16 bits (bf16-true, 16-true) would lose most of the small steps that Adam takes."""
POSITIVE = tuple(f"trainer.{name}" for name in ("check_val_every_n_epoch", "val_check_interval", "limit_train_batches"))
"""Zero of these would end in a division by zero after the first batch, or in a finished run of no batches."""

SEQUENCES = (("length", "horizon"), ("length", "network.init_args.horizon"), ("target", "target"))
NETWORKS = ("generator", "discriminator", "network")
LINKED = (*SEQUENCES, *(("image_shape", f"{network}.init_args.image_shape") for network in NETWORKS))
"""Arguments of the data that are also arguments of the model."""
UNKNOWN = {"length": 2, "target": "last", "image_shape": [1, 28, 28]}
"""What the model gets in place of null: the shape of pictures that aren't read yet, or what will be refused."""
CLASSES = ("classes", *(f"{network}.init_args.classes" for network in NETWORKS))
"""Arguments of the model that follow from the classes of the data, unless they are 0, as in an unconditional GAN."""
STATISTICS = ("discriminator.init_args.mean", "discriminator.init_args.std")
"""Arguments of the model that follow from the pixels of the data, unless they are given."""


def check_null(config: Any, prefix: str = "") -> None:
    """Refuses null where a class takes no None; jsonargparse accepts it for every argument of a class.

    Raises:
        UsageError: if there is one.
    """
    for each in config if isinstance(config, list) else ():
        if isinstance(each, Namespace):
            check_null(each, f"{each.class_path.rpartition('.')[2]}.")
    if not isinstance(config, Namespace):
        return
    arguments = config.get("init_args") if "class_path" in config else None
    parameters = inspect.signature(resolve_name(config.class_path)).parameters if arguments else {}
    for name, value in vars(arguments or config).items():
        key = f"{prefix}{name}"
        if value is None and name in parameters and not _takes_none(parameters[name]):
            default = to_plain(parameters[name].default)
            raise _wrong(key, None, "a value" if default is Parameter.empty else f"a value such as {default}")
        check_null(value, f"{key}.")


def _takes_none(parameter: Parameter) -> bool:
    """Whether an argument may be None, or doesn't say."""
    annotation = parameter.annotation
    unknown = annotation in (Parameter.empty, Any) or isinstance(annotation, str)
    return unknown or parameter.default is None or NoneType in get_args(annotation)


def apply_links(settings: Any, arguments: Sequence[str]) -> None:
    """Sets what the model takes from our images: their shape, classes and statistics; the parser sets the other links.

    Args:
        settings: the parsed ones.
        arguments: what was typed.

    Raises:
        UsageError: if the model has another value of its own, the data have none, or pictures can't be read.
    """
    of_data, of_model = (chosen.get("init_args", {}) for chosen in (settings.data, settings.model))
    options = {argument.partition("=")[0] for argument in arguments}
    for data, model in LINKED:
        if data in of_data and typed(f"model.{model}") in options:
            raise UsageError(f"{typed(f'model.{model}')} follows from the data; write --data.{data}")
        needs_sequences = (data, model) in SEQUENCES and model in of_model
        if needs_sequences and data not in of_data and settings.data.class_path.startswith("datamodules."):
            palindromes = "write --data PalindromeDataModule, or the config of another model, such as -c gan"
            raise UsageError(f"the model needs sequences, but --data has no {data}; {palindromes}")
    images = _images(settings.data)
    if images is None:
        return
    if "image_shape" in of_data:
        of_data.image_shape = [*images.image_shape]
    for model in (f"{network}.init_args.image_shape" for network in NETWORKS):
        if model in of_model:
            of_model[model] = [*images.image_shape]
    for model in filter(of_model.get, CLASSES):
        if images.classes < 2:
            found = images.classes or "none"
            where = of_data.get("root", settings.data.class_path)
            raise UsageError(f"the model needs classes, and {where} has {found}; make a folder for each class")
        if of_model[model] != images.classes and typed(f"model.{model}") in options:
            number = images.classes
            raise _wrong(f"model.{model}", of_model[model], f"{number}, because the data have {number} classes")
        of_model[model] = images.classes
    for model, value in zip(STATISTICS, images.mean_and_std or (), strict=False):
        if model in of_model and of_model[model] is None:
            of_model[model] = value


def _images(data: Any) -> ImageDataModule | None:
    """Our datamodule of images, or None for another one."""
    cls = resolve_name(data.class_path)
    if not issubclass(cls, ImageDataModule):
        return None
    arguments = data.get("init_args") or Namespace()  # an empty dict where the class takes none
    try:
        images: ImageDataModule = cls(**vars(arguments))
    except ValueError as error:
        raise UsageError(str(error)) from error
    return images


def check_config(config: Mapping[str, Any]) -> None:
    """Checks a whole config.

    Raises:
        UsageError: if a number is out of range, or two settings, or one and this machine, don't go together.
    """
    settings = dict(leaves("", config))
    for key, value in settings.items():
        if key in POSITIVE and isinstance(value, int | float) and value <= 0:
            raise _wrong(key, value, "a number above 0, or null for none")
        of_torch = settings.get(f"{key.rpartition('.init_args.')[0]}.class_path", "").startswith("torch.")
        is_number = isinstance(value, int | float) and not key.endswith("last_epoch")
        if of_torch and "lr_scheduler.init_args." in key and is_number:
            lowest = 1 if key.endswith((*SCHEDULE_LENGTHS, "step_size")) else 0
            if value < lowest:
                raise _wrong(key, value, f"{lowest} or more")
    for key in ("trainer.max_steps", "trainer.max_epochs"):
        if settings[key] == 0:
            raise _wrong(key, 0, "1 or more, or -1 for no limit")
    if not 0 <= settings["seed_everything"] <= HIGHEST_SEED:
        raise _wrong("seed_everything", settings["seed_everything"], f"a whole number from 0 to {HIGHEST_SEED}")
    if (interval := settings["trainer.log_every_n_steps"] or 0) < 0:
        raise _wrong("trainer.log_every_n_steps", interval, "a positive number, or 0 to log nothing")
    if not (settings["trainer.gradient_clip_val"] or 0) >= 0:  # nan, too
        raise _wrong("trainer.gradient_clip_val", settings["trainer.gradient_clip_val"], "a positive number, or null")
    if settings["trainer.accumulate_grad_batches"] != 1:
        count = settings["trainer.accumulate_grad_batches"]
        raise _wrong("trainer.accumulate_grad_batches", count, "a larger --data.batch_size: one step is one batch")
    if settings["threads"] != "auto" and not 1 <= (settings["threads"] or 0) <= HIGHEST:
        raise _wrong("threads", settings["threads"], f"auto, or a whole number from 1 to {HIGHEST}")
    devices, cores = settings["trainer.devices"], os.cpu_count() or 1
    if is_on_cpu(settings["trainer.accelerator"]) and str(devices).isdecimal() and int(devices) > cores:
        raise _wrong("trainer.devices", devices, f"at most {cores}, one process for each core of the CPU")
    if settings["trainer.num_nodes"] > 1 and not (TorchElasticEnvironment.detect() or SLURMEnvironment.detect()):
        raise UsageError("--trainer.num_nodes needs a process on each machine; start them by torchrun or srun")
    _check_precision(settings)


def check_processes(trainer: Trainer) -> None:
    """Checks how many processes torchrun or srun has started.

    Raises:
        UsageError: if the config has another number; with fewer, Lightning would run each process by itself.
    """
    for environment in (TorchElasticEnvironment, SLURMEnvironment):
        if environment.detect() and (started := environment().world_size()) != trainer.world_size:
            raise UsageError(
                f"{started} processes were started, but the config has {trainer.world_size}; "
                "write --trainer.num_nodes and the --trainer.devices of each node"
            )


def _check_precision(settings: Mapping[str, Any]) -> None:
    precision = PRECISIONS.get(str(settings["trainer.precision"]))
    if precision is None:
        choices = "32-true, 64-true, bf16-mixed or 16-mixed"
        raise _wrong("trainer.precision", settings["trainer.precision"], choices)
    if precision != "16-mixed":
        return
    if is_on_cpu(settings["trainer.accelerator"]):
        raise UsageError("--trainer.precision 16-mixed needs a GPU; write bf16-mixed, or leave it out")
    fused = any(value for key, value in settings.items() if key.endswith("optimizer.init_args.fused"))
    if fused and settings["trainer.gradient_clip_val"]:
        raise UsageError(
            "a fused optimizer unscales 16-mixed's gradients only after they are clipped; write "
            "--trainer.precision bf16-mixed, or --model.optimizer.fused false"
        )
    for name in PENALTIES:
        if settings.get(f"model.init_args.{name}"):
            raise UsageError(f"16-mixed is too coarse for the gradients that {name} needs; write bf16-mixed")


def _wrong(key: str, value: Any, instead: str) -> UsageError:
    return UsageError(f"{typed(key)} can't be {'null' if value is None else value}; write {instead}")
