"""What benchmarks share as commands: how they start, and `twofold` as a user starts it, for those of whole runs."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from twofold.errors import OneLineParser, UsageError, exit_code
from twofold.provenance import ROOT
from twofold.tables import read_rows

RESULTS = ROOT / "benchmarks" / "results"


def start(name: str, main: Callable[[], int | None], about: str | None) -> int:
    """Starts a benchmark that takes no options, of which `--help` is one; returns the exit code.

    Args:
        name: the one of its file.
        about: the file's docstring.
    """

    def run(arguments: list[str]) -> int:
        OneLineParser(prog=f"python -m benchmarks.{name}", description=about).parse_args(arguments)
        return main() or 0

    return exit_code(name, run, None)


def refuse_below_1(option: str, number: int) -> None:
    """Raises UsageError when an option that counts something is 0 or negative."""
    if number < 1:
        raise UsageError(f"{option} can't be {number}; write 1 or more")


def launch(
    runs: str | Path, *arguments: object, stderr: int | None = None, **environment: str
) -> "subprocess.Popen[str]":
    """Starts the command in a process of its own, with its runs in this folder; `stderr` as `subprocess` has it."""
    return subprocess.Popen(
        [str(Path(sys.executable).with_name("twofold")), *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "TWOFOLD_RUNS": str(runs), **environment},
        stdout=subprocess.DEVNULL,
        stderr=stderr,
        text=True,
    )


def twofold(runs: str, *arguments: object) -> float:
    """Runs the command in a process of its own, with its runs in this folder; returns its peak memory in 10⁶ bytes.

    Raises:
        SystemExit: with the command's exit code, when it fails; what it complained stands on stderr.
    """
    process = launch(runs, *arguments)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(process.returncode)
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
    return usage.ru_maxrss * unit / 1e6


def seconds_after(runs: str | Path) -> dict[int, float]:
    """How many seconds of training had passed after each number of batches that the only run in a folder noted down."""
    (timing,) = Path(runs).glob("*/*/timing.csv")
    return {int(row["step"]) + 1: float(row["time/seconds"]) for row in read_rows(timing)}
