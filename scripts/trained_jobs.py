"""Trains what isn't trained yet. A job has a folder of its own, and in it one run, which goes on if it was broken off.

<runs>/<job>/job.json                     the command, and at which commits it was trained
<runs>/<job>/<experiment>/<run id>/       the run
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Event
from typing import Any, Protocol

import yaml

from common.files import replacing
from datamodules import MNISTDataModule
from datamodules.mnist import has_mnist
from scripts.jobs import Job, read_shipped
from scripts.training import Training, alone, stopped_by_signals
from twofold.errors import Stopped, UsageError
from twofold.provenance import code_version
from twofold.run_folder import RunFolder
from twofold.tables import read_rows

FACTS = "job.json"
POLL = 0.3
"""Seconds between two looks at the trainings."""
AT_ONCE = 2
"""Trainings: two with one thread each do more than one with two, for the networks are small."""


class Listener(Protocol):
    """Hears how far the training is."""

    def trained(self, names: Sequence[str], batches: int) -> None:
        """So many batches of all jobs are trained, and these are in training."""


@dataclass(frozen=True)
class FinishedRun:
    """A job's finished run."""

    job: Job
    run: RunFolder
    commits: tuple[str, ...]
    """At which it was trained, several if it was broken off and the code changed meanwhile."""

    @cached_property
    def config(self) -> dict[str, Any]:
        """The whole of the run's `config.yaml`."""
        config: dict[str, Any] = yaml.safe_load(self.run.config.read_text())
        return config

    @property
    def metrics(self) -> list[dict[str, str]]:
        return read_rows(self.run.path / "metrics.csv")

    @property
    def data_source(self) -> str | None:
        """torchvision or packaged; None where no data is read, for palindromes are made from the seed."""
        return self.run.facts.get("data_source")

    def checkpoint(self) -> Path:
        """The best one, or the last where none is kept as the best.

        Raises:
            UsageError: when neither is there.
        """
        path = self.run.checkpoint("best") or self.run.checkpoint("last")
        if path is None:
            raise UsageError(f"{self.run.path} has lost its checkpoints; move it away, and the report trains it anew")
        return path


def train(jobs: Sequence[Job], runs: Path, root: str | None, bar: Listener) -> dict[str, FinishedRun]:
    """Trains what isn't trained yet, some jobs at once; returns all by name.

    Args:
        runs: under which each job has its folder.
        root: `--data.root` of the games, or None for the config's.
        bar: is told how far it is.

    Raises:
        UsageError: when another report trains there, or a job's folder holds a run with other settings.
        Stopped: when a signal came; the trainings have saved checkpoints.
        RuntimeError: when a training failed.
    """
    with _alone(runs):
        for job in jobs:
            _refuse_another(job, runs)
        _train(jobs, runs, root, bar)
    return {job.name: finished(job, runs) for job in jobs}


def digits_read(jobs: Sequence[Job], runs: Path, root: str | None) -> set[str]:
    """Whose digits jobs have read, or will read, where their source is auto: torchvision, packaged, both or none.

    Args:
        root: the folder that holds MNIST/raw, in which MNIST then has to be; None: data, if it is there or can be had.

    Raises:
        UsageError: when MNIST can't be had in `root`.
    """
    begun = [Training(runs / job.name, job.arguments).run for job in jobs if job.reads_digits]
    read = {run.facts["data_source"] for run in begun if run is not None and "data_source" in run.facts}
    if any(run is None or run.state != "finished" for run in begun):
        data = MNISTDataModule(root or "data", "torchvision" if root else "auto")
        try:
            data.prepare_data()
        except ValueError as error:
            raise UsageError(str(error)) from error
        read.add("torchvision" if has_mnist(data.root) else "packaged")
    return read


def finished(job: Job, runs: Path) -> FinishedRun:
    """The job's run, which is there.

    Raises:
        UsageError: when the job isn't trained.
    """
    run = Training(runs / job.name, job.arguments).run
    if run is None or run.state != "finished":
        raise UsageError(f"{runs / job.name} holds no finished run")
    return FinishedRun(job, run, tuple(_facts(runs / job.name).get("commits", ())))


def _train(jobs: Sequence[Job], runs: Path, root: str | None, bar: Listener) -> None:
    threads = max(1, (os.cpu_count() or 1) // AT_ONCE)
    environment = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads))}
    trainings = {job: Training(runs / job.name, job.arguments, _root(job, root)) for job in jobs}
    waiting = [job for job, training in trainings.items() if training.state != "finished"]
    active: list[Job] = []
    stop = Event()
    try:
        with stopped_by_signals(runs.name, stop) as received:
            while (waiting or active) and not stop.is_set():
                # A training whose report was killed stops soon, and then goes on.
                startable = [job for job in waiting if trainings[job].state != "running"]
                for job in startable[: AT_ONCE - len(active)]:
                    _begin(job, runs)
                    trainings[job].start(**environment)
                    waiting.remove(job)
                    active.append(job)
                bar.trained([job.name for job in active], _batches(trainings, [*waiting, *active]))
                stop.wait(POLL)
                for job in [job for job in active if trainings[job].exit_code is not None]:
                    active.remove(job)
                    _refuse_failure(job, trainings[job])
    finally:
        for job in active:
            trainings[job].stop()
    if received:
        raise Stopped(received[0], f"stopped by {received[0].name}; the same command goes on")
    bar.trained([], _batches(trainings, []))


def _batches(trainings: Mapping[Job, Training], unfinished: Sequence[Job]) -> int:
    """How many are trained of all; a run that ended early, because it had learned all, counts as whole."""
    return sum(
        min(training.batches_trained, job.batches) if job in unfinished else job.batches
        for job, training in trainings.items()
    )


def _root(job: Job, root: str | None) -> list[str]:
    """Where the digits lie is no part of what the job is."""
    return [f"--data.root={Path(root).absolute()}"] if root and job.reads_digits else []


def _refuse_failure(job: Job, training: Training) -> None:
    if training.exit_code == 2:
        raise UsageError(f"{job.name}: {training.last_words}")
    if training.exit_code != 0:
        raise RuntimeError(f"{job.name}: {training.last_words}")


def _facts(folder: Path) -> dict[str, Any]:
    path = folder / FACTS
    return json.loads(path.read_text()) if path.is_file() else {}


def _settings(job: Job) -> dict[str, str]:
    """What the run depends on besides the code."""
    configs = [read_shipped(name) for name in ("base", job.config)]
    return {"command": job.command, "configs": hashlib.sha256(json.dumps(configs, sort_keys=True).encode()).hexdigest()}


def _refuse_another(job: Job, runs: Path) -> None:
    before, now = _facts(runs / job.name), _settings(job)
    for name, what in (
        ("command", "by another command"),
        ("configs", f"when base.yaml or {job.config}.yaml in configs/ was another"),
    ):
        if before.get(name, now[name]) != now[name]:
            raise UsageError(
                f"{runs / job.name} was trained {what}; move it away to train it anew (its {FACTS} says how it was)"
            )


def _begin(job: Job, runs: Path) -> None:
    """Notes what is trained, and at which commit it begins or goes on."""
    folder = runs / job.name
    folder.mkdir(parents=True, exist_ok=True)
    commits = dict.fromkeys((*_facts(folder).get("commits", ()), *filter(None, [commit()])))
    with replacing(folder / FACTS) as draft:
        draft.write_text(json.dumps({**_settings(job), "commits": list(commits)}, indent=2) + "\n")


def commit() -> str:
    """The code's commit, "+" if files have changed since; empty outside a git checkout."""
    version = code_version()
    return str(version.get("commit", ""))[:7] + ("+" if version.get("clean") is False else "")


def _alone(runs: Path) -> AbstractContextManager[None]:
    """Within, no other report trains in this folder, which is made."""
    return alone(
        runs / ".report.in_use",
        f"something else trains in {runs}; wait for it or end it first",
        lambda error: f"can't write to {runs}: {error.strerror}; start from another folder",
    )
