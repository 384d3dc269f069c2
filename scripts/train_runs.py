"""Trains runs by `twofold fit` in subprocesses, for the report, sweeps and benchmarks.

    jobs = [Job("lstm", "palindrome_lstm"), Job("rnn", "palindrome_rnn", ("--model.init", "orthogonal"))]
    runs = train(jobs, Path("runs/report"))
    read_rows(runs["rnn"].path / "metrics.csv")

A finished run is not repeated, an interrupted one resumes. A job whose settings or config changed is another run.
"""

import hashlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import Any

import yaml
from rich.console import Console
from rich.progress import Progress

from twofold.errors import Stopped, UsageError
from twofold.provenance import CONFIGS
from twofold.run_folder import RunFolder
from twofold.threads import auto_threads, usable_cores

WORKERS = 2
"""Trainings at once. Two with one thread each do more than one with two, because the networks are small."""
COMMAND = (str(Path(sys.executable).with_name("twofold")),)
POLL_SECONDS = 0.3
OUTPUT = "output.txt"


@dataclass(frozen=True)
class Job:
    """A run to train.

    Attributes:
        name: of its folder; unique among the jobs of one call of `train`.
        config: a shipped config by its name, such as "gan".
        settings: what to change in it, such as ("--data.length", "20").
        local: arguments that don't make it another run, such as ("--data.root", "/data").
        title: name in figures.
    """

    name: str
    config: str
    settings: tuple[str, ...] = ()
    local: tuple[str, ...] = ()
    title: str = ""

    @property
    def arguments(self) -> list[str]:
        """The arguments of `twofold` for a new run."""
        return ["fit", "-c", str(CONFIGS / f"{self.config}.yaml"), *self.settings]

    @property
    def command(self) -> str:
        """The same as a line to type."""
        return shlex.join(["twofold", "fit", "-c", self.config, *self.settings])

    @property
    def folder(self) -> str:
        """The name, and a hash of the settings and the config."""
        content = [self.settings, read_shipped("base"), read_shipped(self.config)]
        return f"{self.name}-{hashlib.sha256(json.dumps(content).encode()).hexdigest()[:6]}"


def callback(name: str, **arguments: Any) -> dict[str, Any]:
    """An entry of `trainer.callbacks`: a class of `callbacks/` with its arguments."""
    return {"class_path": f"callbacks.{name}", "init_args": arguments}


def read_shipped(config: str) -> dict[str, Any]:
    """The content of a shipped config, by its name without .yaml."""
    content: dict[str, Any] = yaml.safe_load((CONFIGS / f"{config}.yaml").read_text(encoding="utf-8"))
    return content


def train(jobs: Sequence[Job], folder: Path, workers: int = WORKERS) -> dict[str, RunFolder]:
    """Trains what isn't trained yet, in the order of the jobs; returns all runs by the jobs' names.

    Args:
        jobs: the runs to train; each gets a folder under `folder`.
        workers: how many train at the same time.

    Raises:
        UsageError, RuntimeError: when a training was refused or failed.
        Stopped: on SIGINT or SIGTERM, after the trainings have saved checkpoints.
    """
    names = {Training(folder / job.folder, job.arguments, job.local, workers): job.name for job in jobs}
    missing = [training for training in names if not training.finished]
    with Progress(console=Console(stderr=True)) as progress, closing(in_parallel(missing, workers)) as polls:
        bar = progress.add_task("", total=len(missing))
        for active in polls:
            steps = ", ".join(f"{names[training]} ({training.step:,} batches)" for training in active)
            progress.update(bar, description=f"training {steps}")
            for training in active:
                if training.code:
                    raise (UsageError if training.code == 2 else RuntimeError)(f"{names[training]}: {training.error}")
                progress.advance(bar, training.code == 0)
    return {name: run for training, name in names.items() if (run := training.run) is not None}


def in_parallel(trainings: "Iterable[Training]", workers: int) -> "Generator[list[Training], None, None]":
    """Starts the trainings in this order, some at a time; yields those that train or have just ended at each poll.

    When it is closed, the others stop. So do they on SIGINT and SIGTERM, which raise `Stopped`.
    """
    waiting = iter(trainings)
    active: list[Training] = []
    handlers = {number: signal.signal(number, _stopped) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        while True:
            for training in islice(waiting, workers - len(active)):
                active.append(training)
                training.start()
            if not active:
                return
            time.sleep(POLL_SECONDS)
            for training in active:
                training.poll()
            yield active
            active = [training for training in active if training.code is None]
    finally:
        stop(active)
        for number, handler in handlers.items():
            signal.signal(number, handler)


class Training:
    """A `twofold fit` in a subprocess. It resumes the run that its folder holds, if there is one.

    Args:
        folder: for the run, `<folder>/<experiment>/<run id>/`, and for `output.txt`, what the process prints.
        arguments: arguments of `twofold` for a new run.
        local: arguments for a new and for a resumed run.
        workers: how many trainings share the cores.

    Attributes:
        code: the exit code; None while it trains.
    """

    def __init__(self, folder: Path, arguments: Sequence[str], local: Sequence[str] = (), workers: int = 1) -> None:
        self.folder = folder
        self.arguments = arguments
        self.local = local
        self.threads = auto_threads(usable_cores() // workers)
        self.process: subprocess.Popen[bytes] | None = None
        self.code: int | None = None

    @property
    def run(self) -> RunFolder | None:
        """The run, once it has begun."""
        return next((RunFolder(path.parent) for path in sorted(self.folder.glob("*/*/run.json"))), None)

    @property
    def finished(self) -> bool:
        return self.run is not None and self.run.state == "finished"

    @property
    def step(self) -> int:
        """Batches trained up to the newest checkpoint."""
        return 0 if self.run is None else self.run.step

    def start(self) -> None:
        """Starts the process, after the one that a killed parent may have left in this folder."""
        while self.run is not None and self.run.state == "running":
            time.sleep(POLL_SECONDS)
        arguments = self.arguments
        if self.run is not None:
            arguments = ["fit", "-c", str(self.run.config), "--ckpt_path", "last"]
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / OUTPUT).open("wb") as output:
            self.process = subprocess.Popen(
                [*COMMAND, *arguments, *self.local],
                env={"OMP_NUM_THREADS": str(self.threads), **os.environ, "TWOFOLD_RUNS": str(self.folder)},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # the terminal's Ctrl-C would reach it a second time
            )

    def poll(self) -> None:
        """Keeps the exit code in `code` if the process has ended."""
        self.code = None if self.process is None else self.process.poll()

    @property
    def error(self) -> str:
        """The last error that it printed, or else its exit code."""
        output = self.folder / OUTPUT
        lines = output.read_text(encoding="utf-8", errors="replace").splitlines()
        errors = [line.removeprefix("twofold: ") for line in lines if line.startswith("twofold: ")]
        return errors[-1] if errors else f"ended with exit code {self.code}; see {output}"


def stop(trainings: Iterable[Training]) -> None:
    """Ends the processes. Each finishes its batch and saves a checkpoint."""
    started = [(training, training.process) for training in trainings if training.process is not None]
    for _, process in started:
        process.terminate()
    for training, process in started:
        training.code = process.wait()


def _stopped(number: int, frame: FrameType | None) -> None:
    """Handles a signal."""
    raise Stopped(number, f"stopped by {signal.Signals(number).name}; run the same command again to resume")
