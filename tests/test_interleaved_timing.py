"""Trainings that take turns, as quick as their own sleep makes them."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.interleaved_timing import MARK, BatchMarks, Training, batches_per_second


def sleeper(seconds: float, batches: int = 10**6) -> Callable[[Path], Training]:
    """A training whose batches do nothing but last so long."""

    def begin(folder: Path) -> Training:
        marks = folder / "marks"
        code = f"import time\nwith open({str(marks)!r}, 'wb', buffering=0) as file:\n"
        code += f"    for _ in range({batches}): file.write({MARK!r}); time.sleep({seconds})"
        return Training(subprocess.Popen([sys.executable, "-c", code]), marks)

    return begin


def test_each_round_says_how_quick_each_is() -> None:
    said = batches_per_second({"quick": sleeper(0.002), "slow": sleeper(0.008)}, rounds=2, turns=3, seconds=0.3)
    assert [len(rounds) for rounds in said.values()] == [2, 2]
    for quick, slow in zip(said["quick"], said["slow"], strict=True):
        assert 0 < slow < 1 / 0.008 * 1.2
        assert slow < quick < 1 / 0.002 * 1.2


def test_one_whose_turn_it_isn_t_stands_still(tmp_path: Path) -> None:
    training = sleeper(0.001)(tmp_path)
    training.warm_up(5)
    time.sleep(0.1)  # the signal reaches it a moment after it is sent
    before = training.batches()
    time.sleep(0.1)
    assert training.batches() == before >= 5
    training.turn(seconds=0.05)
    assert training.batches() > before
    training.close()
    with pytest.raises(SystemExit, match="a training ended after"):
        training.batches()


def test_one_that_ends_is_no_race() -> None:
    with pytest.raises(SystemExit, match="a training ended after 3 batches"):
        batches_per_second({"short": sleeper(0.001, batches=3)}, rounds=1)


def test_marks_are_left_by_a_callback(tmp_path: Path) -> None:
    marks = BatchMarks(str(tmp_path / "marks"))
    marks.on_train_start()
    for _ in range(3):
        marks.on_train_batch_end()
    marks.on_train_end()
    assert (tmp_path / "marks").read_bytes() == MARK * 3
