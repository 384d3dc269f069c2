"""Config files, looked at before settings are read out of them: text, in YAML, that says nothing twice."""

from pathlib import Path
from typing import Any

import yaml

from twofold.errors import UsageError, one_line

MOST_BYTES = 10**6
MOST_VALUES = 10**5
"""Counting what an alias stands for each time."""


def read_config(path: Path) -> dict[str, Any]:
    """What the file says; it may be nothing.

    Raises:
        UsageError: when it is no regular file, huge, or anything but YAML with settings; tells the line where it can.
    """
    if not path.is_file():
        raise UsageError(f"there is no config file {path}; `ls configs` shows the experiments")
    if path.stat().st_size > MOST_BYTES:
        raise UsageError(f"{path} has {path.stat().st_size:,} bytes and is no config; `ls configs` shows some")
    try:
        text = path.read_text(encoding="utf-8")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        _count(root, {})
        _refuse_doubles(root, path, set())
        content = yaml.safe_load(text)
    except OSError as error:
        raise UsageError(f"{path} can't be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not text in UTF-8, see byte {error.start}") from error
    except RecursionError as error:
        raise UsageError(f"{path} is nested too deeply, or holds itself") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", see line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        told = " ".join(filter(None, (error.context, error.problem)))
        raise UsageError(f"the config is not YAML{where}: {told}") from error
    except (yaml.YAMLError, ValueError) as error:  # a date that is none is a ValueError
        raise UsageError(f"the config is not YAML: {one_line(error)}") from error
    if not isinstance(content, dict | None):
        raise UsageError(f"{path} holds no settings; start from one of configs/, say configs/palindrome_lstm.yaml")
    return content or {}


def _refuse_doubles(node: yaml.Node | None, path: Path, seen: set[int]) -> None:
    """Of two equal keys YAML's readers keep one and say nothing."""
    if node is None or id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        lines: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if isinstance(key, yaml.ScalarNode):
                if key.value in lines:
                    first = lines[key.value]
                    raise UsageError(f"{path}, line {line}: {key.value} stands there a second time, see line {first}")
                lines[key.value] = line
            _refuse_doubles(value, path, seen)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _refuse_doubles(value, path, seen)


def _count(node: yaml.Node | None, known: dict[int, int]) -> int:
    """How many values a node stands for; nine aliases of nine aliases, nine times over, make 10⁹."""
    if node is None or id(node) in known:
        return known.get(id(node), 0) if node else 0
    inner = node.value if isinstance(node, yaml.CollectionNode) else []
    parts = [part for entry in inner for part in (entry if isinstance(entry, tuple) else (entry,))]
    known[id(node)] = count = 1 + sum(_count(part, known) for part in parts)
    if count > MOST_VALUES:
        raise UsageError(f"the config stands for more than {MOST_VALUES:,} values; write fewer aliases")
    return count
