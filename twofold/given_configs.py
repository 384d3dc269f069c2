"""Completes the command line: names of shipped configs become paths, schedules become as long as the run."""

import inspect
import itertools
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
import yaml

from twofold.provenance import CONFIGS
from twofold.resume import SCHEDULE_LENGTHS


def complete(arguments: list[str]) -> list[str]:
    """Returns the arguments with the paths of shipped configs, and the length of each schedule that has none.

    `-c gan` means the shipped `gan.yaml`, unless there is a file `gan`. A missing `total_iters`, `total_steps` or
    `T_max` is that of `trainer.max_steps`; jsonargparse would refuse the last, and take torch's 5 for the first.
    """
    arguments = [re.sub(r"^(-c|--config)=", r"--config=", argument) for argument in arguments]
    for place, argument in enumerate(arguments):
        name = argument.removeprefix("--config=")
        given = name != argument or (place and arguments[place - 1] in ("-c", "--config"))
        if given and not Path(name).exists() and (shipped := CONFIGS / f"{name}.yaml").exists():
            arguments[place] = argument.replace(name, str(shipped))
    settings = dict(_settings(arguments))
    steps = settings.get("trainer.max_steps", -1)
    if str(steps).isdecimal():
        for name, value in list(settings.items()):
            scheduler = getattr(torch.optim.lr_scheduler, str(value).rpartition(".")[2], None)
            if re.fullmatch(r"model\.\w*lr_scheduler", name) and scheduler is not None:
                for length in set(SCHEDULE_LENGTHS) & inspect.signature(scheduler).parameters.keys():
                    if f"{name}.{length}" not in settings:
                        arguments = [*arguments, f"--{name}.{length}={steps}"]
    return arguments


def _settings(arguments: list[str]) -> Iterator[tuple[str, Any]]:
    """The settings in the given files and arguments, later ones last, by their names without `init_args`."""
    for argument, following in itertools.pairwise([*arguments, ""]):
        name, has_value, value = argument.partition("=")
        value = value if has_value else following
        if name in ("-c", "--config"):
            with suppress(OSError, ValueError, yaml.YAMLError):  # the parser says what is wrong with the file
                yield from _flat("", yaml.safe_load(Path(value).read_text()) if Path(value).is_file() else None)
        elif name.startswith("--"):
            yield name[2:].replace(".init_args", ""), value


def _flat(prefix: str, config: Any) -> Iterator[tuple[str, Any]]:
    for key, value in config.items() if isinstance(config, dict) else ():
        name = prefix if key in ("class_path", "init_args") else f"{prefix}.{key}".lstrip(".")
        if isinstance(value, dict):
            yield from _flat(name, value)
        else:
            yield name, value
