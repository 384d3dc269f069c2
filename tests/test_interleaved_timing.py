"""Programs and trainings that take turns."""

import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from benchmarks.timing import MARK, Training, batches_per_second, interleaved


def sleeper(seconds: float, batches: int = 10**6) -> Callable[[Path], Training]:
    """A training whose batches only sleep."""

    def begin(folder: Path) -> Training:
        marks = folder / "marks"
        code = f"import time\nwith open({str(marks)!r}, 'wb', buffering=0) as file:\n"
        code += f"    for _ in range({batches}): file.write({MARK!r}); time.sleep({seconds})"
        return Training(subprocess.Popen([sys.executable, "-c", code]), marks)

    return begin


def test_programs_take_turns_and_warm_up_is_dropped() -> None:
    calls: list[str] = []

    def call(name: str) -> float:
        calls.append(name)
        return len(calls)

    measured = interleaved({name: partial(call, name) for name in "abc"}, rounds=2, warm_up=1)
    assert calls == [*"abc", *"bca", *"cab"]
    assert measured == {"a": [6, 8], "b": [4, 9], "c": [5, 7]}


def test_speeds_are_returned_by_round() -> None:
    speeds = batches_per_second({"quick": sleeper(0.002), "slow": sleeper(0.008)}, rounds=2, turns=2, seconds=0.2)
    assert [len(rounds) for rounds in speeds.values()] == [2, 2]
    for quick, slow in zip(speeds["quick"], speeds["slow"], strict=True):
        assert 0 < slow < 1 / 0.008 * 1.2
        assert slow < quick < 1 / 0.002 * 1.2


def test_a_training_stops_between_its_turns(tmp_path: Path) -> None:
    training = sleeper(0.001)(tmp_path)
    training.warm_up(5)
    time.sleep(0.1)  # the signal arrives a moment after it is sent
    before = training.batches()
    time.sleep(0.1)
    assert training.batches() == before >= 5
    training.turn(seconds=0.05)
    assert training.batches() > before
    training.close()
    with pytest.raises(SystemExit, match="a training ended after"):
        training.batches()
