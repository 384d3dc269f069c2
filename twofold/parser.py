"""The parser of the command line and the configs.

A jsonargparse error, which is a page about types, becomes one line: what was wrong and what to write instead."""

import difflib
import inspect
import itertools
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import yaml
from jsonargparse.typing import Path as ConfigPath
from lightning.pytorch.cli import LightningArgumentParser
from torch.optim.lr_scheduler import LRScheduler

import callbacks
import datamodules
import lightning_modules
from common.schedules import SCHEDULE_LENGTHS, missing_length
from twofold.errors import UsageError, one_line
from twofold.provenance import CONFIGS

KEY = re.compile(r'Parser key "([^"]+)":')
NESTED = re.compile(r"NestedArg\(key='([^']+)', val='?(.*?)'?\)\s*$")
UNKNOWN = re.compile(r"[Oo]ption '([^']+)'|unrecognized arguments: (\S+)")
MISSING = re.compile(r"the following arguments are required: (.+)")
EXPECTED = re.compile(r"Expected a (?!path but|<class 'NoneType'>|<class 'collections.abc.Iterable'>)(.+)")
DETAILS = re.compile(
    r"Does not validate|Subtypes:|Errors:|Given value|Expected a|Got value|Not a valid subclass|Subclass types expect|"
    r"a class path|a dict with|$"
)
OBJECT = "Unable to serialize instance"
"""How jsonargparse begins the value of a setting that YAML can't hold."""
TYPES = {
    "<class 'int'>": "a whole number",
    "<class 'float'>": "a number",
    "<class 'bool'>": "true or false",
    "<class 'str'>": "text",
    "<class 'tuple'>": "a list in brackets",
    "<class 'collections.abc.Sequence'>": "a list in brackets",
}


def _read_utf8(self: ConfigPath) -> str:
    """Replaces jsonargparse's method, which reads configs in the locale's encoding."""
    return _read_text(self) if str(self) == "-" else Path(self.absolute).read_text(encoding="utf-8")


_read_text = ConfigPath.read_text  # for stdin, which it caches
ConfigPath.read_text = _read_utf8  # type: ignore[method-assign]


class Parser(LightningArgumentParser):
    """Raises errors instead of printing pages about them. The length of a learning-rate schedule may be left out."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, allow_abbrev=False, **kwargs)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        raise ParserError(message) from ex

    def add_class_arguments(self, class_type: type, *args: Any, **kwargs: Any) -> list[str]:
        parameters = inspect.signature(class_type).parameters if issubclass(class_type, LRScheduler) else ()
        lengths = [name for name in SCHEDULE_LENGTHS if name in parameters]
        kwargs["skip"] = {*(kwargs.get("skip") or ()), *lengths}
        added: list[str] = super().add_class_arguments(class_type, *args, **kwargs)
        for name in lengths:  # torch requires some of them, and has 5 for others
            self.add_argument(f"--{name}", type=int | None, default=None, help="Steps; null for trainer.max_steps.")
        return added

    def dump(self, cfg: Any, **kwargs: Any) -> str:
        """Leaves out defaults that are objects, such as a `torch.device`; a parser of the text has them, too."""
        text: str = super().dump(cfg, **kwargs)
        return yaml.safe_dump(_without_objects(yaml.safe_load(text), cfg), sort_keys=False) if OBJECT in text else text


class ParserError(Exception):
    """Carries a message of jsonargparse, which `condense` shortens."""


def find_configs(arguments: list[str]) -> list[str]:
    """Returns the arguments with the paths of shipped configs: `-c gan` means gan.yaml if there is no file `gan`."""
    found: list[str] = []
    for argument in arguments:
        found += argument.split("=", 1) if argument.startswith(("-c=", "--config=")) else [argument]
    for place, (before, name) in enumerate(itertools.pairwise(found), start=1):
        shipped = CONFIGS / f"{name}.yaml"
        if before in ("-c", "--config") and shipped.exists() and not Path(name).is_file():
            found[place] = str(shipped)
    return found


def fill_schedule_lengths(settings: Any) -> None:
    """Makes each learning-rate schedule that has no length as long as the run.

    Raises:
        UsageError: if the run has no `max_steps`.
    """
    for name, scheduler in vars(settings.model.init_args).items():
        if name.endswith("lr_scheduler") and scheduler and (length := missing_length(vars(scheduler.init_args))):
            if settings.trainer.max_steps < 1:
                raise UsageError(f"--model.{name}.{length} is missing; write it, or --trainer.max_steps")
            scheduler.init_args[length] = settings.trainer.max_steps


def condense(message: str, known: Iterable[str] = ()) -> str:
    """Returns jsonargparse's message in one line.

    Args:
        message: the message, usually of many lines.
        known: the existing settings, as they are typed without the dashes.
    """
    if "File does not exist" in message or "Path is not a file" in message:
        shipped = ", ".join(sorted(path.stem for path in CONFIGS.glob("*.yaml") if path.stem != "base"))
        return f"there is no config file {message.rpartition(': ')[2].strip()}; write a file, or one of {shipped}"
    if "surrogates not allowed" in message:
        encoding = sys.getfilesystemencoding()
        return f"an argument isn't {encoding} text, as the locale demands; set PYTHONUTF8=1, or write ASCII"
    if "Unexpected config" in message:
        return "the config holds no settings; start from a shipped one, such as -c gan"
    if place := re.findall(r"line (\d+), column (\d+)", message):
        message = message.removeprefix("Problems parsing config: ")
        problem = " ".join(re.sub(r'in "<[^>]+>", line \d+, column \d+:?', "", message).split())
        return f"the config is not YAML, see line {place[-1][0]}, column {place[-1][1]}: {problem}"
    keys, nested = KEY.findall(message), NESTED.search(message)
    setting = f"{keys[0]}.{nested[1]}" if keys and nested else ".".join(keys)
    if missing := MISSING.search(message):
        names = [f"--{setting}.{name}" if setting else f"--{name.partition('.')[2]}" for name in missing[1].split(", ")]
        return f"{' and '.join(names)} missing; add what is missing, or start from a shipped config, such as -c gan"
    if unknown := UNKNOWN.search(message):
        if unknown[2] and not unknown[2].startswith("-"):
            return f"'{unknown[2]}' is no option; write -c {unknown[2]}"
        return _unknown_setting(setting, (unknown[1] or unknown[2]).partition("=")[0].lstrip("-"), set(known))
    expected = [
        TYPES.get(each, each)
        for each in (found.partition(" Got value")[0].rstrip(".") for found in EXPECTED.findall(message))
    ]
    lines = [line.strip("- ") for line in KEY.sub("", message).splitlines()]
    reasons = [line for line in lines if not DETAILS.match(line)]
    if reasons or not expected:
        reason = " ".join(dict.fromkeys(reasons)) or one_line(ValueError(message))
        return f"--{setting}: {reason}" if setting else reason
    values = re.findall(r"(?:Got value|Given value): (.*)", message)
    if setting == "trainer.precision":
        expected = ["32-true, 64-true, bf16-mixed or 16-mixed"]
    wanted = " or ".join(dict.fromkeys(map(_in_words, expected)))
    return f"--{setting} can't be {nested[2] if nested else values[0]}; write {wanted}"


def known_settings(parser: LightningArgumentParser) -> Iterator[str]:
    """The settings of the trainer and of our own classes, as they are typed without the dashes."""
    yield from (action.dest for action in parser._actions if not action.dest.endswith(".help"))
    for group, package in (("data", datamodules), ("model", lightning_modules), ("trainer.callbacks", callbacks)):
        for name in package.__all__:
            yield from (f"{group}.{argument}" for argument in inspect.signature(getattr(package, name)).parameters)


def _without_objects(dumped: Any, given: Any) -> Any:
    """What `given` was dumped as, without objects; strings, which jsonargparse may take for objects, are as given."""
    if isinstance(dumped, list):
        return [_without_objects(*each) for each in zip(dumped, given, strict=True)]
    if not isinstance(dumped, dict):
        return given if str(dumped).startswith(OBJECT) else dumped
    values = given if isinstance(given, dict) else vars(given)
    kept = {key: _without_objects(value, values.get(key)) for key, value in dumped.items()}
    return {
        key: value for key, value in kept.items() if isinstance(value, str) or not str(dumped[key]).startswith(OBJECT)
    }


def _in_words(expected: str) -> str:
    if expected.startswith("dot import path string"):
        return "a class with its module, such as package.module.Class"
    if choices := re.match(r"typing.Literal\[(.+)\]", expected):
        return choices[1].replace("'", "").replace(", ", " or ")
    return expected


def _unknown_setting(setting: str, option: str, known: set[str]) -> str:
    """`data` and `lenght` make `data.lenght`, as do `data.lenght` and `lenght`."""
    name = option if not setting else setting if setting.endswith(f".{option}") else f"{setting}.{option}"
    groups = {setting.partition(".")[0] for setting in known}
    if name.partition(".")[0] not in groups:
        name, known = name.partition(".")[0], groups
    elif name in known and name.startswith("trainer.callbacks."):
        return f"the last callback has no setting --{name}; write --trainer.callbacks+=CLASS before it"
    similar = [each for each in known if each.count(".") == name.count(".") and each != name]
    nearest = difflib.get_close_matches(name, similar, n=1, cutoff=0.8)
    advice = f"did you mean --{nearest[0]}?" if nearest else "--print_config shows the existing settings"
    return f"there is no setting --{name} here; {advice}"
