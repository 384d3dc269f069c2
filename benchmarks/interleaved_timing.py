"""Trainings that take turns of seconds, so that whatever slows the machine for minutes slows all of them alike.

Each is a process of its own. It starts and trains a little, stands still (SIGSTOP), and goes on (SIGCONT) whenever it
is its turn. By the marks that it leaves in a file, one after each batch, others see how far it is.
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from typing import Any

from lightning.pytorch import Callback

from benchmarks.command import launch
from benchmarks.timing import by_turns

MARK = b"."
FIRST = 100
"""Batches that a training is ahead before its first turn."""
TURN, LEAD = 2.0, 0.2
"""Seconds of a turn that count, and those before, in which its caches fill."""
TURNS = 12
"""Of each training in a round."""


class BatchMarks(Callback):
    """Leaves a mark in the file at `path`, which is made, after each batch of training."""

    def __init__(self, path: str) -> None:
        self._path = path

    def on_train_start(self, *_: Any) -> None:
        self._file = os.open(self._path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o666)

    def on_train_batch_end(self, *_: Any) -> None:
        os.write(self._file, MARK)

    def on_train_end(self, *_: Any) -> None:
        os.close(self._file)


class Training:
    """A process that trains when it is its turn.

    Args:
        process: not standing still.
        marks: the file in which it leaves `mark` after each batch.
    """

    def __init__(self, process: "subprocess.Popen[Any]", marks: Path, mark: bytes = MARK) -> None:
        self._process, self._marks, self._mark = process, marks, mark

    def batches(self) -> int:
        """How many it has trained.

        Raises:
            SystemExit: if it has ended.
        """
        batches = self._marks.read_bytes().count(self._mark) if self._marks.exists() else 0
        if self._process.poll() is not None:
            raise SystemExit(f"a training ended after {batches} batches; what it complained stands above")
        return batches

    def warm_up(self, batches: int) -> None:
        """Lets it train as many batches, and stand still."""
        while self.batches() < batches:
            time.sleep(0.1)
        self._process.send_signal(signal.SIGSTOP)

    def turn(self, seconds: float, lead: float = LEAD) -> float:
        """How many batches it trains in a second."""
        self._process.send_signal(signal.SIGCONT)
        time.sleep(lead)
        before, start = self.batches(), time.perf_counter()
        time.sleep(seconds)
        trained, passed = self.batches() - before, time.perf_counter() - start
        self._process.send_signal(signal.SIGSTOP)
        return trained / passed

    def close(self) -> None:
        """Ends it."""
        self._process.kill()
        self._process.wait()


def fit(folder: Path, config: Path, settings: Sequence[object]) -> Training:
    """`twofold fit` as a user starts it, with its runs in `folder`.

    W&B's process beside it isn't stopped, and may write what it still has to in the turns of others.
    """
    marks = folder / "marks"
    leave = json.dumps({"class_path": "benchmarks.interleaved_timing.BatchMarks", "init_args": {"path": str(marks)}})
    return Training(launch(folder, "fit", "-c", config, *settings, "--trainer.callbacks+", leave), marks)


def batches_per_second(
    trainings: Mapping[str, Callable[[Path], Training]], rounds: int, turns: int = TURNS, seconds: float = TURN
) -> dict[str, list[float]]:
    """Of every training, in each round of so many turns.

    Args:
        trainings: start one each, in an empty folder.
    """
    with ExitStack() as stack:
        running = {}
        for name, begin in trainings.items():
            running[name] = stack.enter_context(closing(begin(Path(stack.enter_context(TemporaryDirectory())))))
            running[name].warm_up(FIRST)
        said = by_turns({name: partial(each.turn, seconds) for name, each in running.items()}, rounds * turns)
    return {
        name: [mean(speeds[first : first + turns]) for first in range(0, rounds * turns, turns)]
        for name, speeds in said.items()
    }
