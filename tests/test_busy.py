"""The line about other programs, on a made-up clock."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from twofold import busy
from twofold.busy import BusyMachine
from twofold.run_folder import RunFolder
from twofold.signals import StopOnSignal

Twofold = Callable[..., tuple[int, str, str]]


class Clock:
    """Wall clock and CPU time, which pass only in batches."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wall = self.cpu = 0.0
        monkeypatch.setattr(time, "perf_counter", lambda: self.wall)
        monkeypatch.setattr(time, "process_time", lambda: self.cpu)


class Run:
    """Calls the callback's hooks as a training would."""

    def __init__(self, clock: Clock, folder: Path) -> None:
        self.clock, self.callback = clock, BusyMachine(RunFolder(folder))

    def batches(self, n: int, seconds: float, share: float = 2.0, length: int = 20, as_dict: bool = False) -> None:
        x, y = torch.zeros(4, length), torch.zeros(4)
        batch = {"x": x, "y": y} if as_dict else (y, x)
        trainer, module = Trainer.__new__(Trainer), LightningModule.__new__(LightningModule)
        for index in range(n):
            self.callback.on_train_batch_start(trainer, module, batch, index)
            self.clock.wall += seconds
            self.clock.cpu += seconds * share
            self.callback.on_train_batch_end(trainer, module, None, batch, index)
            self.clock.wall += 3 * (index % 10 == 0)  # a validation, a picture or a checkpoint


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    return Run(Clock(monkeypatch), tmp_path)


def test_slow_batches_with_less_of_the_cpu_get_one_line(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run.batches(600, 0.01)
    run.batches(300, 0.1, share=1.3)
    run.batches(600, 0.01)
    run.batches(300, 0.5, share=1.0)
    assert capsys.readouterr().err == (
        "twofold: batches take 10 times as long as before, probably because other programs use the CPU; if that "
        "lasts, Ctrl-C, then go on with one thread: "
        f"twofold fit -c {run.callback.folder.config} --ckpt_path last --threads 1\n"
    )


IDLE = (640, 1 / 128, 2.0)
"""Batches, seconds of each and cores used: a window of exactly five seconds."""


@pytest.mark.parametrize(
    ("phases", "lines"),
    [
        ([IDLE, (214, 3.01 / 128, 1.0)], 1),
        ([IDLE, (640, 3 / 128, 1.0)], 0),
        ([IDLE, (12, 0.42, 1.79)], 1),
        ([IDLE, (12, 0.42, 1.81)], 0),
        ([IDLE, (12, 0.41, 1.0)], 0),
        ([IDLE, (10, 1.0, 1.0)], 1),
        ([IDLE, (9, 1.0, 1.0)], 0),
        ([(10, 0.5, 1.0), IDLE, (10, 0.5, 1.0)], 1),  # the run starts beside another program
        ([IDLE, (320, 1 / 64, 1.0), (184, 3.5 / 128, 0.95)], 1),  # it becomes busy little by little
    ],
)
def test_windows_are_compared_with_the_fastest(
    run: Run, capsys: pytest.CaptureFixture[str], phases: list[tuple[int, float, float]], lines: int
) -> None:
    for phase in phases:
        run.batches(*phase)
    assert capsys.readouterr().err.count("as long as before") == lines


def test_only_the_first_process_writes(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    run.batches(*IDLE)
    run.batches(300, 0.1, share=1.0)
    assert capsys.readouterr().err == ""


def test_a_run_that_becomes_busy_within_its_first_seconds_gets_the_line(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    run.batches(100, 0.01)
    run.batches(40, 0.28, share=1.0)
    assert "batches take 28 times as long as before" in capsys.readouterr().err


def test_more_work_a_slower_clock_and_single_batches_get_none(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    for length in (5, 10, 20, 40, 80, 160, 320, 640, 1000):  # a curriculum; a longer batch may wait more
        for as_dict in (False, True):
            run.batches(12, 0.001 * length, share=2 - length / 1000, length=length, as_dict=as_dict)
    run.batches(600, 0.01)
    for penalties in range(300):
        run.batches(1, 0.1 if penalties % 4 == 0 else 0.01, share=1.0)
    for penalties in range(300):  # every second batch has one
        run.batches(1, 35 / 64 if penalties % 2 else 10 / 64, share=1.0 if penalties % 2 else 2.0, length=21)
    run.batches(3, 60.0, share=0.0)  # a sleeping laptop
    run.batches(600, 0.01)
    run.batches(600, 0.04)  # a lower clock rate, or more layers to train
    run.batches(600, 0.025, share=1.0)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("threads", "on_cpu", "lines"), [(2, True, 1), (1, True, 0), (2, False, 0)])
def test_only_a_run_with_several_threads_on_a_cpu_listens(
    twofold: Twofold, monkeypatch: pytest.MonkeyPatch, threads: int, on_cpu: bool, lines: int
) -> None:
    monkeypatch.setattr("twofold.lightning_cli.is_on_cpu", lambda _: on_cpu)
    for name, value in {"SECONDS": 0, "BATCHES": 1, "SLOWER": 0, "LESS_CPU": 1e9}.items():
        monkeypatch.setattr(busy, name, value)
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    monkeypatch.setattr("twofold.threads.usable_cores", lambda: 8)
    code, _, complained = twofold(
        f"fit -c palindrome_lstm --data.batch_size 4 --trainer.max_steps 9 --threads {threads}"
    )
    assert (code, complained.count("\n"), complained.count("other programs use the CPU")) == (0, lines, lines)
    if lines:
        resume = complained.partition("one thread: twofold ")[2]
        code, _, complained = twofold(f"{resume.strip()} --trainer.max_steps 12")
        assert (code, complained) == (0, "twofold: threads was 2 and is now 1: the same bits are not promised\n")


def test_a_batch_is_timed_without_the_callbacks_of_its_end(twofold: Twofold, monkeypatch: pytest.MonkeyPatch) -> None:
    orders = []

    def record(_: BusyMachine, trainer: Trainer, *more: object) -> None:
        orders.append([type(each) for each in trainer.callbacks])  # type: ignore[attr-defined]

    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    monkeypatch.setattr(BusyMachine, "on_train_batch_end", record)
    assert twofold("fit -c palindrome_lstm --data.batch_size 4 --trainer.max_steps 1 --threads 2")[0] == 0
    [order] = orders
    assert order[:2] == [StopOnSignal, BusyMachine]
