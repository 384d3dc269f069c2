"""Errors with a message for the user, and the exit code of each."""

import difflib
import io
import os
import re
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn


class UsageError(Exception):
    """A mistake in the command or in a config: exit code 2. The message says what to write instead."""


class Stopped(BaseException):
    """A signal stopped the run: exit code 128 + the signal's number. The message says how to resume.

    Like KeyboardInterrupt it isn't an Exception, so that code which handles failures doesn't handle it.
    """

    def __init__(self, signal: int, message: str) -> None:
        super().__init__(message)
        self.signal = signal


class NothingToDo(Exception):
    """The command has nothing left to do: exit code 0. The message says why."""


LONGEST_LINE = 1000


def one_line(error: BaseException) -> str:
    """Returns an error's message without line breaks, at most `LONGEST_LINE` characters; its type if it is empty."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    line = " ".join(str(error)[: 10 * LONGEST_LINE].split()) or type(error).__name__
    return line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]}…"


def advised(error: ValueError, instead: str) -> UsageError:
    """Returns a UsageError that adds what to write instead, unless the message has such a part after a semicolon."""
    return UsageError(str(error) if ";" in str(error) else f"{error}; {instead}")


class OneLineParser(ArgumentParser):
    """Raises a UsageError for a wrong argument; doesn't accept abbreviated options.

    Args:
        description: a file's docstring. `--help` shows its first line, and its indented lines as examples.
    """

    def __init__(self, *, description: str | None = None, **kwargs: Any) -> None:
        about, *rest = (description or "").splitlines() or [""]
        self._examples = [line.strip() for line in rest if line.startswith("    ")]
        super().__init__(**kwargs, description=about, allow_abbrev=False)
        self.register("type", Path, lambda text: Path(text).expanduser())

    def format_help(self) -> str:
        examples = "".join(f"  {line}\n" for line in self._examples)
        return super().format_help() + (f"\nexamples:\n{examples}" if examples else "")

    def error(self, message: str) -> NoReturn:
        if unknown := re.match(r"unrecognized arguments: (--[^\s=]+)", message):
            options = [option for action in self._actions for option in action.option_strings]
            nearest = difflib.get_close_matches(unknown[1], options, n=1)
            advice = f"did you mean {nearest[0]}?" if nearest else "--help shows the options there are"
            raise UsageError(f"there is no option {unknown[1]} here; {advice}")
        raise UsageError(message)


class _Unread(io.FileIO):
    """A file descriptor whose data is dropped if nothing takes it: a closed pipe, as after `| head`, or a full disk."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError:
            return len(data)


def _ignore_closed_pipes() -> None:
    """Makes stdout and stderr drop what nobody reads, so that it doesn't end a training."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed, as by `>&-`
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif stream is getattr(sys, f"__{name}__"):  # not a test's or a notebook's
            raw = io.BufferedWriter(_Unread(stream.fileno(), "w", closefd=False))
            lines = stream.line_buffering or name == "stderr"  # a killed process loses no line of it
            setattr(sys, name, io.TextIOWrapper(raw, stream.encoding, stream.errors, line_buffering=lines))


def exit_code(command: str, run: Callable[[list[str]], int], arguments: Sequence[str] | None) -> int:
    """Runs a command. An error becomes one line on stderr, or a traceback if TWOFOLD_DEBUG=1.

    Args:
        command: the command's name, with which the line begins.
        run: takes the arguments and returns the exit code.
        arguments: the arguments without the command's name; None means those of this process.

    Returns:
        The exit code: 2 for a usage error, 1 for a failed run, 130 after Ctrl-C, 143 after SIGTERM, else what `run`
        returned.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as stderr has, for terminals without "…"
    _ignore_closed_pipes()
    try:
        return run(list(sys.argv[1:] if arguments is None else arguments))
    except Stopped as stop:
        code, line = 128 + stop.signal, str(stop)
    except KeyboardInterrupt:
        code, line = 130, "interrupted"
    except Exception as error:
        if os.environ.get("TWOFOLD_DEBUG") == "1":
            raise
        code, line = 2, one_line(error)
        if not isinstance(error, UsageError):
            code, line = 1, f"the run failed: {line} (TWOFOLD_DEBUG=1 shows where)"
    print(f"{command}: {line}", file=sys.stderr)
    return code
