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
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import yaml
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from twofold.errors import Stopped, UsageError
from twofold.provenance import CONFIGS
from twofold.run_folder import RunFolder

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
        return shlex.join(["twofold", "fit", "-c", f"configs/{self.config}.yaml", *self.settings])

    @property
    def folder(self) -> str:
        """The name, and a hash of the settings and the config."""
        content = [self.settings, read_shipped("base"), read_shipped(self.config)]
        return f"{self.name}-{hashlib.sha256(json.dumps(content).encode()).hexdigest()[:6]}"


def read_shipped(config: str) -> dict[str, Any]:
    """The content of a shipped config, by its name without .yaml."""
    content: dict[str, Any] = yaml.safe_load((CONFIGS / f"{config}.yaml").read_text())
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
    trainings = {job.name: Training(folder / job.folder, job.arguments, job.local, workers) for job in jobs}
    waiting = [name for name, training in trainings.items() if not training.finished]
    active: dict[str, Training] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with stopped_by_signals(), Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task("", total=len(jobs))
        try:
            while waiting or active:
                while waiting and len(active) < workers:
                    name = waiting.pop(0)
                    active[name] = trainings[name]
                    active[name].start()
                steps = [f"{name} ({training.step:,} batches)" for name, training in active.items()]
                done = len(jobs) - len(waiting) - len(active)
                progress.update(bar, description=f"training {', '.join(steps)}", completed=done)
                time.sleep(POLL_SECONDS)
                for name in [name for name, training in active.items() if training.poll() is not None]:
                    training = active.pop(name)
                    if code := training.poll():
                        raise (UsageError if code == 2 else RuntimeError)(f"{name}: {training.error}")
            progress.update(bar, description="trained", completed=len(jobs))
        finally:
            stop(active.values())
    return {name: run for name, training in trainings.items() if (run := training.run) is not None}


class Training:
    """A `twofold fit` in a subprocess. It resumes the run that its folder holds, if there is one.

    Args:
        folder: for the run, `<folder>/<experiment>/<run id>/`, and for `output.txt`, what the process prints.
        arguments: arguments of `twofold` for a new run.
        local: arguments for a new and for a resumed run.
        workers: how many trainings share the cores.
    """

    def __init__(self, folder: Path, arguments: Sequence[str], local: Sequence[str] = (), workers: int = 1) -> None:
        self.folder = folder
        self.arguments = arguments
        self.local = local
        self.threads = max(1, (os.cpu_count() or 1) // workers)
        self.process: subprocess.Popen[bytes] | None = None

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

    def poll(self) -> int | None:
        """The exit code; None while it trains."""
        return None if self.process is None else self.process.poll()

    @property
    def error(self) -> str:
        """The last error that it printed, or else its exit code."""
        output = self.folder / OUTPUT
        lines = output.read_text(errors="replace").splitlines()
        errors = [line.removeprefix("twofold: ") for line in lines if line.startswith("twofold: ")]
        return errors[-1] if errors else f"ended with exit code {self.poll()}; see {output}"


def stop(trainings: Iterable[Training]) -> None:
    """Ends the processes. Each finishes its batch and saves a checkpoint."""
    processes = [training.process for training in trainings if training.process is not None]
    for process in processes:
        process.terminate()
    for process in processes:
        process.wait()


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Within, SIGINT and SIGTERM raise `Stopped`."""

    def stopped(number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        raise Stopped(number, f"stopped by {name}; run the same command again to resume")

    before = {number: signal.signal(number, stopped) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
