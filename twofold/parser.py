"""The parser of the command line and the configs.

A jsonargparse error, which is a page about types, becomes one line: what was wrong and what to write instead."""

import difflib
import inspect
import itertools
import os
import re
import traceback
from argparse import ArgumentError
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import yaml
from jsonargparse import _typehints
from jsonargparse.typing import Path as ConfigPath
from lightning.pytorch.cli import LightningArgumentParser
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

import datamodules  # noqa: F401  # so that jsonargparse finds its classes by their names
from common.schedules import SCHEDULE_LENGTHS, missing_length
from networks.registry import NETWORKS
from networks.saved_arguments import argument_names
from twofold.errors import UsageError, one_line
from twofold.provenance import CONFIGS

KEY = re.compile(r'Parser key "([^"]+)":')
NESTED = re.compile(r"NestedArg\(key='([^']+)', val='?(.*?)'?\)\s*$")
UNKNOWN = re.compile(r"[Oo]ption '([^']+)'|unrecognized arguments: (\S+)")
MISSING = re.compile(
    r"(?:class_path '(.+)':\s+)?the following arguments are required: (.+?)(?:\. Got value.*)?$", re.MULTILINE
)
CLASS = re.compile(r"class_path='([^']+)'")
REFUSING = re.compile(r"class_path '([^']+)':\s+Option '|is not accepted\. Got value: Namespace\(class_path='([^']+)'")
EXPECTED = re.compile(
    r"(?:Expected a (?!path but|<class 'NoneType'>|<class 'collections.abc.Iterable'>)|Unexpected (?=import path))"
    r"(.+?)\.?(?: Got value.*)?$",
    re.MULTILINE,
)
WRAPPERS = re.compile(
    r"Problem with given class_path '.+':\s*|Type typing\..+ expects a function or a callable class: "
)
DETAILS = re.compile(
    r"Does not validate|Subtypes:|Errors:|Given value|Expected a|Unexpected import path|Got value|Not a valid subclass|"
    r"Subclass types expect|a class path|a dict with|$"
)
OURS = {network.__name__: f"{network.__module__}.{network.__name__}" for network in NETWORKS}
A_CLASS = "a class with its module, such as package.module.Class"
MISTAKES = (ArithmeticError, AssertionError, AttributeError, LookupError, NameError, TypeError)
"""Errors that are no refusals: their messages make sense only where the code stands."""
OBJECT = "Unable to serialize instance"
"""How jsonargparse begins the value of a setting that YAML can't hold."""
TYPES = {
    "<class 'int'>": "a whole number",
    "<class 'float'>": "a number",
    "<class 'bool'>": "true or false",
    "<class 'str'>": "text",
    "<class 'list'>": "a list in brackets",
    "<class 'tuple'>": "a list in brackets",
    "<class 'collections.abc.Sequence'>": "a list in brackets",
}


def _read_utf8(self: ConfigPath) -> str:
    """Replaces jsonargparse's method, which reads configs in the locale's encoding."""
    return _read_text(self) if str(self) == "-" else Path(self.absolute).read_text(encoding="utf-8")


_read_text = ConfigPath.read_text  # for stdin, which it caches
ConfigPath.read_text = _read_utf8  # type: ignore[method-assign]


def _resolve_name(cls: Any, name: str) -> str:
    """Replaces jsonargparse's search for a class by its name, typed or in a config; `GRU` is ours, not `torch.nn`'s."""
    if name in OURS:
        return OURS[name]
    path = _resolve_among_subclasses(cls, name)
    if "." not in path:
        subclasses = [each.rpartition(".")[2] for each in _typehints.get_all_subclass_paths(cls)]
        if similar := _nearest(name, OURS) or _nearest(name, subclasses):
            raise ValueError(f"there is no class {name}; did you mean {similar}?")
    return path


_resolve_among_subclasses = _typehints.resolve_class_path_by_name
_typehints.resolve_class_path_by_name = _resolve_name


class Parser(LightningArgumentParser):
    """Raises errors instead of printing pages about them. The length of a learning-rate schedule may be left out."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "allow_abbrev": False, "exit_on_error": False})

    def add_class_arguments(self, class_type: type, *args: Any, **kwargs: Any) -> list[str]:
        parameters = inspect.signature(class_type).parameters if issubclass(class_type, LRScheduler) else ()
        lengths = [name for name in SCHEDULE_LENGTHS if name in parameters]
        refused = ["proj_size"] if issubclass(class_type, nn.GRU | nn.RNN) else ()  # torch's, whose base has it
        kwargs["skip"] = {*(kwargs.get("skip") or ()), *lengths, *refused}
        added: list[str] = super().add_class_arguments(class_type, *args, **kwargs)
        for name in lengths:  # torch requires some of them, and has 5 for others
            self.add_argument(f"--{name}", type=int | None, default=None, help="Steps; null for trainer.max_steps.")
        return added

    def dump(self, cfg: Any, **kwargs: Any) -> str:
        """Leaves out defaults that are objects, such as a `torch.device`; a parser of the text has them, too."""
        try:
            text: str = super().dump(cfg, **kwargs)
        except (yaml.representer.RepresenterError, ValueError) as error:
            objects = re.findall(
                r"(?:cannot represent an object', |a config can't hold )(.+?)(?:\)|; write|$)", str(error)
            )
            if not objects:
                raise
            raise UsageError(f"a config can't hold {objects[0]}; write a number, a text or a list instead") from error
        return yaml.safe_dump(_without_objects(yaml.safe_load(text), cfg), sort_keys=False) if OBJECT in text else text


def expand_names(arguments: list[str]) -> list[str]:
    """Returns the arguments with paths instead of the names of configs: `-c gan` is gan.yaml without a file `gan`."""
    found: list[str] = []
    for argument in arguments:
        found += argument.split("=", 1) if argument.startswith(("-c=", "--config=")) else [argument]
    for place, (before, name) in enumerate(itertools.pairwise(found), start=1):
        if before in ("-c", "--config"):
            path, shipped = Path(name).expanduser(), CONFIGS / f"{name}.yaml"
            found[place] = str(shipped if shipped.exists() and not path.is_file() else path)
    return found


def expand_home(settings: Any) -> None:
    """Replaces `~` in paths; a shell does so only at the beginning of a word."""
    for owner, name in ((settings, "ckpt_path"), (settings.trainer, "default_root_dir")):
        owner[name] = owner[name] and os.path.expanduser(owner[name])


def fill_schedule_lengths(settings: Any) -> None:
    """Makes each learning-rate schedule that has no length as long as the run.

    Raises:
        UsageError: if the run has no `max_steps`.
    """
    arguments = vars(settings.model.get("init_args") or settings.model)  # a module may have no arguments
    for name, scheduler in arguments.items():
        named = name.endswith("lr_scheduler") and hasattr(scheduler, "init_args")
        if named and (length := missing_length(vars(scheduler.init_args))):
            if settings.trainer.max_steps < 1:
                raise UsageError(f"--model.{name}.{length} is missing; write it, or --trainer.max_steps")
            scheduler.init_args[length] = settings.trainer.max_steps


def condense(error: BaseException, parser: LightningArgumentParser | None = None, arguments: Sequence[str] = ()) -> str:
    """Returns an error of jsonargparse in one line.

    Args:
        error: its message usually has many lines; its causes are the errors of inner parsers and of imported files.
        parser: what raised it, if it isn't an error of a class.
        arguments: what it parsed.
    """
    message, causes = str(error), list(_causes(error))
    if "File does not exist" in message or "Path is not a file" in message:
        shipped = ", ".join(sorted(path.stem for path in CONFIGS.glob("*.yaml") if path.stem != "base"))
        return f"there is no config file {message.rpartition(': ')[2].strip()}; write a file, or one of {shipped}"
    if "surrogates not allowed" in message:
        return "an argument isn't text in the locale's encoding; set PYTHONUTF8=1, or write ASCII"
    if "Unexpected config" in message:
        return "the config holds no settings; start from a shipped one, such as -c gan"
    keys, nested = list(dict.fromkeys(KEY.findall(message))), NESTED.search(message)
    setting = f"{keys[0]}.{nested[1]}" if keys and nested else ".".join(keys)
    if "but is abstract" in message:
        value = re.findall("Given value: (.*)", message)[-1]
        return f"--{setting} can't be {value}, which is abstract; write a class that defines all of its methods"
    if script := re.search(r"sub-config file (\S+\.py):", message):
        return f"--{setting} can't be {script[1]}; write {A_CLASS}"
    if place := re.findall(r"line (\d+), column (\d+)", message):
        message = message.removeprefix("Problems parsing config: ")
        problem = " ".join(re.sub(r'in "<[^>]+>", line \d+, column \d+:?', "", message).split())
        return f"the config is not YAML, see line {place[-1][0]}, column {place[-1][1]}: {problem}"
    if missing := MISSING.search(message):
        return _missing(setting, missing)
    if parser and (unknown := UNKNOWN.search(message)):
        if unknown[2] and not unknown[2].startswith("-"):
            return f"'{unknown[2]}' is no option; write -c {unknown[2]}"
        option = (unknown[1] or unknown[2]).partition("=")[0].lstrip("-")
        # `data` and `lenght` make `data.lenght`, as do `data.lenght` and `lenght`.
        name = option if not setting else setting if setting.endswith(f".{option}") else f"{setting}.{option}"
        if similar := _similar_setting(name, option, message, parser, arguments):
            return f"there is no setting --{name} here; did you mean --{similar}?"
        if name.startswith("trainer.callbacks."):
            return f"the last callback has no setting --{name}; write --trainer.callbacks+=CLASS before it"
        return f"there is no setting --{name} here; --print_config shows the existing settings"
    expected = [TYPES.get(each, each) for each in EXPECTED.findall(message)]
    lines = [line.strip("- ") for line in WRAPPERS.sub("", KEY.sub("", message)).splitlines()]
    reasons = [line.partition(". Got value")[0] for line in lines if not DETAILS.match(line)]
    if located := _located(causes[-1], parsing=isinstance(error, ArgumentError)):
        reasons = [located]
    if reasons or not expected:
        reason = " ".join(dict.fromkeys(reasons)) or one_line(ValueError(message))
        if lacking := re.match(r"No module named '([^'.]+)'$", reason):
            reason += f"; start the command in the folder that holds {lacking[1]}.py, or install {lacking[1]}"
        return f"--{setting}: {reason}" if setting else reason
    values = re.findall(r"(?:Got value|Given value): (.*)", message)
    if setting == "trainer.precision":
        expected = ["32-true, 64-true, bf16-mixed or 16-mixed"]
    if "a number" in expected:  # or a tensor, which a config can't hold
        expected = [each for each in expected if not each.startswith("dot import path")]
    wanted = " or ".join(dict.fromkeys(map(_in_words, expected)))
    return f"--{setting} can't be {nested[2] if nested else values[0]}; write {wanted}"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        # Jsonargparse looks for a class in a module that can't be imported, so the first error says more.
        error = error.__cause__ or (error.__context__ if isinstance(error, AttributeError) else None)


def _missing(setting: str, missing: re.Match[str]) -> str:
    """What is required and isn't there: the model, the data, or arguments of a class."""
    names = missing[2].split(", ")
    if not setting:
        settings = " and ".join(f"--{name.partition('.')[2]}" for name in names)
        return f"{settings} missing; add what is missing, or start from a shipped config, such as -c gan"
    needing = missing[1] or CLASS.findall(missing.string[missing.end(2) :])[0]
    written = " and ".join(f"--{setting}.{name}" for name in names)
    return f"{needing.rpartition('.')[2]} needs {' and '.join(names)}; write {written} or, in a config, its init_args"


def _located(error: BaseException, parsing: bool) -> str:
    """Where in a file a class is missing, or its code fails; empty if the message says all.

    Args:
        error: the first of the errors.
        parsing: whether classes are only imported so far. Later, most errors are refusals with a message.
    """
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<")]
    refused = frames and re.search(
        rf"argparse|[/\\](lightning|torch)[/\\]|^{re.escape(__file__)}$", frames[-1].filename
    )
    if frames and not refused and (parsing or isinstance(error, MISTAKES)):
        return f"{frames[-1].filename}, line {frames[-1].lineno}: {type(error).__name__}: {error}"
    if isinstance(error, AttributeError) and inspect.ismodule(error.obj) and parsing:
        nearest = _nearest(str(error.name), [*dir(error.obj), *OURS])
        return f"{error}{f'; did you mean {nearest}?' if nearest else ''} ({error.obj.__file__})"
    return ""


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
    if expected.startswith(("dot import path string", "import path format")):
        return A_CLASS
    if choices := re.match(r"typing.Literal\[(.+)\]", expected):
        return choices[1].replace("'", "").replace(", ", " or ")
    return expected


def _similar_setting(
    name: str, option: str, message: str, parser: LightningArgumentParser, arguments: Sequence[str]
) -> str | None:
    """The setting that is meant by `name`, which ends with the `option` that a class, or else the parser, refuses."""
    if refusing := REFUSING.search(message):
        similar = _nearest(option, argument_names(resolve_name(refusing[1] or refusing[2])))
        return similar and name.removesuffix(option) + similar
    quiet = [each for each in arguments if not each.startswith("--print_config")]
    for group in ("trainer", "data", "model", "checkpoint"):
        try:
            parser.parse_args([re.sub(f"^--{re.escape(name)}(?==|$)", f"--{group}.{name}", each) for each in quiet])
        except (ArgumentError, UsageError):
            continue
        return f"{group}.{name}"
    settings = [action.dest for action in parser._actions]
    group = name.partition(".")[0]
    return _nearest(name, settings) or (None if group in settings else _nearest(group, settings))


def _nearest(name: str, known: Iterable[str]) -> str | None:
    """The most similar of the known names, if one is similar; `parity` and `parity_data_module` are the same."""
    folded = {_folded(each): each for each in known}
    return next((folded[each] for each in difflib.get_close_matches(_folded(name), folded, n=1, cutoff=0.8)), None)


def _folded(name: str) -> str:
    return name.lower().replace("_", "").removesuffix("datamodule")
