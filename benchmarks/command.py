"""The command line of a benchmark topic, and `twofold` in a subprocess.

python -m benchmarks.gan                          all benchmarks of the topic
python -m benchmarks.gan recipes --root DATA      one of them
"""

import os
import signal
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, get_args

import torch

from benchmarks.results import RESULTS
from datamodules.mnist import Source
from twofold.errors import OneLineParser, UsageError, exit_code
from twofold.provenance import ROOT

Benchmark = Callable[[Namespace], None]


def run(
    topic: str,
    about: str | None,
    benchmarks: Mapping[str, Benchmark],
    arguments: Sequence[str] | None = None,
    *,
    add_options: Callable[[ArgumentParser], None] = lambda _: None,
    if_named: Mapping[str, Benchmark] = {},
) -> int:
    """Runs the benchmarks that the arguments name, all of `benchmarks` without one; returns the exit code.

    Args:
        topic: the name of the module.
        about: its docstring.
        benchmarks: by name. Each gets the parsed options, of which `out` is the folder for tables and pictures.
        arguments: None for those of this process.
        add_options: adds the options of the topic.
        if_named: benchmarks that don't run by default.
    """

    def parse_and_run(arguments: list[str]) -> int:
        parser = OneLineParser(prog=f"python -m benchmarks.{topic}", description=about)
        known = {**benchmarks, **if_named}
        only = f" but {', '.join(if_named)}" if if_named else ""
        parser.add_argument("benchmarks", nargs="*", help=f"{', '.join(known)}; by default all{only}")
        parser.add_argument("--out", type=Path, default=RESULTS, help="folder for tables and pictures")
        add_options(parser)
        options = parser.parse_args(arguments)
        for name in options.benchmarks:
            if name not in known:
                raise UsageError(f"there is no benchmark {name} here; write {', '.join(known)}")
        for name in options.benchmarks or benchmarks:
            known[name](options)
        return 0

    return exit_code(f"benchmarks.{topic}", parse_and_run, arguments)


def add_mnist(parser: ArgumentParser) -> None:
    """Adds `--root` and `--source`, as `datamodules.MNISTDataModule` takes them."""
    parser.add_argument("--root", type=Path, default=Path("data"), help="folder that holds MNIST/raw")
    about = "packaged: a trial without MNIST"
    parser.add_argument("--source", default="torchvision", choices=get_args(Source), help=about)


def data_settings(options: Namespace) -> tuple[str, ...]:
    """What `add_mnist` added, as arguments of `twofold`."""
    return ("--data.root", str(options.root.absolute()), "--data.source", options.source)


def launch(
    runs: str | Path,
    *arguments: object,
    stderr: int | None = None,
    start_new_session: bool = False,
    **environment: str,
) -> "subprocess.Popen[str]":
    """Starts `twofold` in a subprocess, with as many threads as this process has.

    Args:
        runs: folder for its runs.
        arguments: of the command.
        stderr, start_new_session: as `subprocess` takes them.
        environment: variables to add.
    """
    return subprocess.Popen(
        [str(Path(sys.executable).with_name("twofold")), *map(str, arguments)],
        cwd=ROOT,
        env={"OMP_NUM_THREADS": str(torch.get_num_threads()), **os.environ, "TWOFOLD_RUNS": str(runs), **environment},
        stdout=subprocess.DEVNULL,
        stderr=stderr,
        start_new_session=start_new_session,
        text=True,
    )


@contextmanager
def killed_at_end(process: "subprocess.Popen[Any]") -> Iterator["subprocess.Popen[Any]"]:
    """At the end of the block kills the process and all that it has started, which has a session of its own."""
    with process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):  # all have ended
                os.killpg(process.pid, signal.SIGKILL)


def twofold(runs: str | Path, *arguments: object) -> float:
    """Runs `twofold` in a subprocess; returns its peak memory in MB (10⁶ bytes).

    Raises:
        SystemExit: with its exit code, when it fails; its error message is on stderr.
    """
    process = launch(runs, *arguments)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(process.returncode)
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
    return usage.ru_maxrss * unit / 1e6
