"""jsonargparse's refusals are pages about types. Here each becomes one line: what was wrong, what to write instead."""

import difflib
import re
from collections.abc import Iterable

from twofold.errors import one_line

NOISE = (
    "Does not validate against",
    "Subtypes:",
    "Errors:",
    "Given value",
    "Expected a path but",
    "Expected a <class 'NoneType'>",
    "Expected a <class 'collections.abc.Iterable'>",
)
KEY = re.compile(r'Parser key "([^"]+)":')
UNKNOWN = re.compile(r"Option '([^']+)' is not accepted|does not accept option '([^']+)'|unrecognized arguments: (.+)")
NESTED = re.compile(r"NestedArg\(key='([^']+)', val='?(.*?)'?\)\s*$")
VALUE = re.compile(r"(?:Got value|Given value): (.*)")
IN_WORDS = {
    "<class 'int'>": "a whole number",
    "<class 'float'>": "a number",
    "<class 'bool'>": "true or false",
    "<class 'str'>": "text",
    "<class 'tuple'>": "a list in brackets",
    "<class 'collections.abc.Sequence'>": "a list in brackets",
}


def condense(message: str, known: Iterable[str]) -> str:
    """What jsonargparse says, in one line.

    Args:
        message: its message, of many lines.
        known: the settings there are, as people type them without the dashes.
    """
    if "File does not exist" in message or "Path is not a file" in message:
        return f"there is no config file {message.rpartition(': ')[2].strip()}; `ls configs` shows the experiments"
    if where := re.findall(r"line (\d+), column (\d+)", message):
        problem = one_line(ValueError(re.sub(r'in "<[^>]+>", line \d+, column \d+:?', "", message)))
        problem = problem.removeprefix("Problems parsing config: ")
        return f"the config is not YAML, see line {where[-1][0]}, column {where[-1][1]}: {problem}"
    if "arguments are required" in message or "Unexpected config" in message:
        return "the config says no model or data; start from one of configs/, say -c configs/palindrome_lstm.yaml"
    if asked := re.search(r"you tried to allocate (\d+) bytes", message):
        return f"there is no memory for this, it asks for {int(asked[1]):,} bytes; write smaller sizes"
    setting, value = _setting_and_value(message)
    unknown = UNKNOWN.search(message)
    if unknown and setting.split(".")[-1] not in KEY.findall(message)[1:]:
        return _no_such_setting(_full_name(setting, next(filter(None, unknown.groups()))), known)
    reasons = _reasons(message)
    wanted = [reason.removeprefix("Expected a ") for reason in reasons if reason.startswith("Expected a ")]
    others = [reason for reason in reasons if not reason.startswith("Expected a ")]
    if others or not wanted:
        reason = others[0] if others else one_line(ValueError(message))
        return f"--{setting}: {reason}" if setting else reason
    return f"--{setting} can't be {value}; write {' or '.join(dict.fromkeys(map(_in_words, wanted)))}"


def _setting_and_value(message: str) -> tuple[str, str]:
    keys = KEY.findall(message)
    if keys and (nested := NESTED.search(message)):
        return f"{keys[0]}.{nested[1]}", nested[2]
    values = VALUE.findall(message)
    return ".".join(keys), values[0] if values else ""


def _reasons(message: str) -> list[str]:
    """What is left of the message without its grammar."""
    message = re.sub(r"(Problem with given class_path '[^']*'):\s*", r"\1: ", KEY.sub("", message))
    lines = (line.strip().removeprefix("- ").partition(" Got value:")[0].rstrip(".") for line in message.splitlines())
    return [line for line in lines if line.strip("- ") and not line.startswith(NOISE) and not UNKNOWN.search(line)]


def _in_words(wanted: str) -> str:
    if wanted.startswith("dot import path string"):
        return "a class with its module, such as package.module.Class"
    if wanted.startswith("typing.Literal"):
        return wanted.removeprefix("typing.Literal[").rstrip("]").replace("'", "").replace(", ", " or ")
    return IN_WORDS.get(wanted, wanted)


def _full_name(setting: str, option: str) -> str:
    """`data` and `lenght` make `data.lenght`, as do `data.lenght` and `lenght`."""
    option = option.split()[0].partition("=")[0].lstrip("-")
    return option if not setting else setting if setting.split(".")[-1] == option else f"{setting}.{option}"


def _no_such_setting(name: str, known: Iterable[str]) -> str:
    known = set(known)
    groups = {setting.partition(".")[0] for setting in known}
    if name.partition(".")[0] not in groups:
        name, known = name.partition(".")[0], groups
    alike = [setting for setting in known if setting.count(".") == name.count(".") and setting != name]
    nearest = difflib.get_close_matches(name, alike, n=1, cutoff=0.8)
    advice = f"did you mean --{nearest[0]}?" if nearest else "--print_config shows the settings there are"
    return f"there is no setting --{name} here; {advice}"
