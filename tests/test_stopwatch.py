"""How long a batch takes, on a clock of the test's own."""

import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers.logger import Logger

from callbacks import Timer
from datamodules import PalindromeDataModule
from lightning_modules import PalindromeLSTM

MakeTrainer = Callable[..., Trainer]


class Notes(Logger):
    name = version = "notes"

    def __init__(self) -> None:
        super().__init__()
        self.times: dict[int | None, float] = {}
        self.seconds: dict[int | None, float] = {}

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        if "time/ms_per_batch" in metrics:
            self.times[step] = metrics["time/ms_per_batch"]
        if "time/seconds" in metrics:
            self.seconds[step] = metrics["time/seconds"]

    def log_hyperparams(self, params: Any, *_: Any, **__: Any) -> None: ...


class StopAfter(Callback):
    """Asks for the end after so many batches."""

    def __init__(self, batches: int) -> None:
        self.batches = batches

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        trainer.should_stop |= trainer.global_step == self.batches


def measure(make: MakeTrainer, *others: Callback, **arguments: Any) -> Notes:
    notes = Notes()
    data = PalindromeDataModule(length=5, batch_size=4, batches_per_epoch=3, validation_batches=1)
    trainer = make(max_steps=7, logger=notes, callbacks=[*others, Timer()], **arguments)
    trainer.fit(PalindromeLSTM(4), datamodule=data)
    return notes


def test_the_mean_since_the_last_time_is_logged_at_the_log_interval(
    plain_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    readings = iter([10.0, 10.5, 16.5])  # seconds: at the start, after 3 batches, after 6
    monkeypatch.setattr(time, "perf_counter", lambda: next(readings, 99.0))
    notes = measure(plain_trainer, log_every_n_steps=3)
    assert notes.times.keys() == notes.seconds.keys() == {2, 5}  # Lightning names a batch by how many came before it
    assert notes.times[2] == pytest.approx(500 / 3)
    assert notes.times[5] == pytest.approx(6000 / 3)
    assert [notes.seconds[2], notes.seconds[5]] == pytest.approx([0.5, 6.5])


@pytest.mark.parametrize(("stop", "logged"), [(4, {2, 3}), (5, {2, 4}), (6, {2, 5})])
def test_a_run_that_is_stopped_early_reads_the_clock_once_more(
    plain_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch, stop: int, logged: set[int]
) -> None:
    readings = iter([10.0, 10.5, 16.5])
    monkeypatch.setattr(time, "perf_counter", lambda: next(readings, 99.0))
    notes = measure(plain_trainer, StopAfter(stop), log_every_n_steps=3)
    assert notes.times.keys() == notes.seconds.keys() == logged
    assert notes.seconds[stop - 1] == pytest.approx(6.5)
    assert notes.times[stop - 1] == pytest.approx(6000 / (stop - 3))


def test_seconds_grow(plain_trainer: MakeTrainer) -> None:
    seconds = list(measure(plain_trainer, log_every_n_steps=1).seconds.values())
    assert len(seconds) == 7
    assert seconds[0] > 0
    assert all(earlier < later for earlier, later in pairwise(seconds))


def test_nothing_is_logged_when_logging_is_off(plain_trainer: MakeTrainer) -> None:
    notes = measure(plain_trainer, StopAfter(5), log_every_n_steps=0)
    assert notes.times == notes.seconds == {}
