"""The line about other programs, on a made-up clock."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer

from twofold import busy
from twofold.busy import BusyMachine
from twofold.run_folder import RunFolder

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

    def batches(self, n: int, seconds: float, share: float = 2.0, length: int = 20) -> None:
        batch = (torch.zeros(4, length), torch.zeros(4))
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


def test_a_run_that_becomes_busy_within_its_first_seconds_gets_the_line(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    run.batches(100, 0.01)
    run.batches(40, 0.28, share=1.0)
    assert "batches take 28 times as long as before" in capsys.readouterr().err


def test_more_work_a_slower_clock_and_single_batches_get_none(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    for length in (5, 10, 20, 40, 80, 160, 320, 640, 1000):  # a curriculum; a longer batch may wait more
        run.batches(12, 0.001 * length, share=2 - length / 1000, length=length)
    run.batches(600, 0.01)
    for penalties in range(300):
        run.batches(1, 0.1 if penalties % 4 == 0 else 0.01, share=1.0)
    run.batches(3, 60.0, share=0.0)  # a sleeping laptop
    run.batches(600, 0.01)
    run.batches(600, 0.04)  # a lower clock rate, or more layers to train
    run.batches(600, 0.025, share=1.0)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("threads", "lines"), [(2, 1), (1, 0)])
def test_only_a_run_with_several_threads_listens(
    twofold: Twofold, monkeypatch: pytest.MonkeyPatch, threads: int, lines: int
) -> None:
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
