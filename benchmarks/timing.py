"""Interleaved timing: the programs that are compared take turns, so that a slow phase of the machine slows all alike.

    times = compared({"ours": ours, "theirs": theirs}, "theirs", rounds=20)
    lower, median, upper = quartiles(times["ours"]["ratio"])

Trainings take turns of seconds (`batches_per_second`). Each is a subprocess that is stopped (SIGSTOP) except in its
turn (SIGCONT) and writes a mark to a file after each batch.
"""

import json
import math
import os
import signal
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, closing
from functools import partial
from multiprocessing import get_context
from multiprocessing.context import BaseContext
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from typing import Any

import torch
from lightning.pytorch import Callback

from benchmarks.command import launch

MARK = b"."
SPAWN = get_context("spawn")
WARM_UP = 100
"""Batches that a training does before its first turn."""
TURN, LEAD = 2.0, 0.2
"""Seconds of a turn that count, and seconds before them, in which the caches fill."""
TURNS = 12
"""Turns of each training per round."""


def synchronize(device: str) -> None:
    """Waits until the device has done all its work."""
    if device == "cuda":
        torch.cuda.synchronize()


def milliseconds(work: Callable[[], object], device: str = "cpu") -> float:
    """The time of one call, to the end of its work on the device."""
    start = time.perf_counter()
    work()
    synchronize(device)
    return 1000 * (time.perf_counter() - start)


def interleaved(programs: Mapping[str, Callable[[], float]], rounds: int, warm_up: int = 0) -> dict[str, list[float]]:
    """Calls each program once per round and returns what they return, by program and round.

    The order rotates by one from round to round, so that no program always runs after the same other one. Numbers of
    the same round can be divided by each other.

    Args:
        programs: each measures itself.
        rounds: how many rounds count.
        warm_up: rounds before them.
    """
    order = list(programs)
    measured: dict[str, list[float]] = {name: [] for name in order}
    for _ in range(warm_up + rounds):
        for name in order:
            measured[name].append(programs[name]())
        order.append(order.pop(0))
    return {name: values[warm_up:] for name, values in measured.items()}


def compared(
    steps: Mapping[str, Callable[[], object]], reference: str, rounds: int, device: str = "cpu"
) -> dict[str, dict[str, list[float]]]:
    """The milliseconds (`ms`) of each step by round, and their `ratio` to those of the reference."""
    calls = {name: partial(milliseconds, step, device) for name, step in steps.items()}
    times = interleaved(calls, rounds, warm_up=2)
    return {name: {"ms": ms, "ratio": ratios(ms, times[reference])} for name, ms in times.items()}


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """The lower quartile, the median and the upper quartile of at least two values."""
    lower, median, upper = statistics.quantiles(values, n=4, method="inclusive")
    return lower, median, upper


def spread(values: Sequence[float]) -> dict[str, float]:
    """The quartiles as columns of a table."""
    return dict(zip(("lower_quartile", "median", "upper_quartile"), quartiles(values), strict=True))


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """The quotients round by round."""
    return [a / b for a, b in zip(ours, theirs, strict=True)]


def peak_growth(work: Callable[[], object]) -> float:
    """By how many MB (10⁶ bytes) this process grows at its peak while `work` runs; call it in a new process.

    NaN on systems other than Linux.
    """
    before = _status_megabytes("VmRSS")
    work()
    return _status_megabytes("VmHWM") - before


def _status_megabytes(field: str) -> float:
    """A size from /proc/self/status. The peak in `getrusage` starts at that of the parent process."""
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="utf-8").splitlines() if status.exists() else []
    return next((float(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(field)), math.nan)


def in_new_process(work: Callable[..., Any], *arguments: Any, context: BaseContext = SPAWN) -> Any:
    """What `work` returns in a new process."""
    with ProcessPoolExecutor(1, mp_context=context) as process:
        return process.submit(work, *arguments).result()


class BatchMarks(Callback):
    """Appends a mark to the file at `path` after each training batch."""

    def __init__(self, path: str) -> None:
        self._path = path

    def on_train_start(self, *_: Any) -> None:
        self._file = os.open(self._path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o666)

    def on_train_batch_end(self, *_: Any) -> None:
        os.write(self._file, MARK)

    def on_train_end(self, *_: Any) -> None:
        os.close(self._file)


class Training:
    """A subprocess that trains in its turns.

    Args:
        process: running.
        marks: the file to which it appends `mark` after each batch.
    """

    def __init__(self, process: "subprocess.Popen[Any]", marks: Path, mark: bytes = MARK) -> None:
        self._process, self._marks, self._mark = process, marks, mark

    def batches(self) -> int:
        """How many it has trained.

        Raises:
            SystemExit: when it has ended.
        """
        batches = self._marks.read_bytes().count(self._mark) if self._marks.exists() else 0
        if self._process.poll() is not None:
            raise SystemExit(f"a training ended after {batches} batches; its error message is above")
        return batches

    def warm_up(self, batches: int) -> None:
        """Lets it train that many batches, then stops it."""
        while self.batches() < batches:
            time.sleep(0.1)
        self._process.send_signal(signal.SIGSTOP)

    def turn(self, seconds: float, lead: float = LEAD) -> float:
        """Lets it train for some seconds; returns batches per second."""
        self._process.send_signal(signal.SIGCONT)
        time.sleep(lead)
        before, start = self.batches(), time.perf_counter()
        time.sleep(seconds)
        trained, passed = self.batches() - before, time.perf_counter() - start
        self._process.send_signal(signal.SIGSTOP)
        return trained / passed

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.wait()


def fit(folder: Path, settings: Sequence[object]) -> Training:
    """`twofold fit` as a user starts it, with its runs in `folder`.

    W&B's own process isn't stopped, and may write in the turns of others.
    """
    marks = folder / "marks"
    callback = json.dumps({"class_path": "benchmarks.timing.BatchMarks", "init_args": {"path": str(marks)}})
    return Training(launch(folder, "fit", *settings, "--trainer.callbacks+", callback), marks)


def batches_per_second(
    trainings: Mapping[str, Callable[[Path], Training]], rounds: int, turns: int = TURNS, seconds: float = TURN
) -> dict[str, list[float]]:
    """The speed of each training in each round of that many turns.

    Args:
        trainings: functions that start a training in an empty folder.
    """
    with ExitStack() as stack:
        running = {}
        for name, begin in trainings.items():
            running[name] = stack.enter_context(closing(begin(Path(stack.enter_context(TemporaryDirectory())))))
            running[name].warm_up(WARM_UP)
        measured = interleaved({name: partial(each.turn, seconds) for name, each in running.items()}, rounds * turns)
    return {
        name: [mean(speeds[first : first + turns]) for first in range(0, rounds * turns, turns)]
        for name, speeds in measured.items()
    }
