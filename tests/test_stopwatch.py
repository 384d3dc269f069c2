"""How long a batch takes, on a clock of the test's own."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from lightning.pytorch import Trainer
from lightning.pytorch.loggers.logger import Logger

from callbacks import Stopwatch
from datamodules import PalindromeDataModule
from lightning_modules import PalindromeLSTM

MakeTrainer = Callable[..., Trainer]


class Notes(Logger):
    name = version = "notes"

    def __init__(self) -> None:
        super().__init__()
        self.times: dict[int | None, float] = {}

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        if "time/ms_per_batch" in metrics:
            self.times[step] = metrics["time/ms_per_batch"]

    def log_hyperparams(self, params: Any, *_: Any, **__: Any) -> None: ...


def measure(make: MakeTrainer, **arguments: Any) -> dict[int | None, float]:
    notes = Notes()
    data = PalindromeDataModule(length=5, batch_size=4, batches_per_epoch=3, validation_batches=1)
    trainer = make(max_steps=7, logger=notes, callbacks=[Stopwatch()], **arguments)
    trainer.fit(PalindromeLSTM(4), datamodule=data)
    return notes.times


def test_the_mean_since_the_last_time_is_logged_at_the_log_interval(
    plain_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    readings = iter([10.0, 10.5, 16.5])  # seconds: at the start, after 3 batches, after 6
    monkeypatch.setattr(time, "perf_counter", lambda: next(readings, 99.0))
    times = measure(plain_trainer, log_every_n_steps=3)
    assert times.keys() == {2, 5}  # Lightning's axis names a batch by how many came before it
    assert times[2] == pytest.approx(500 / 3)
    assert times[5] == pytest.approx(6000 / 3)


def test_nothing_is_logged_when_logging_is_off(plain_trainer: MakeTrainer) -> None:
    assert measure(plain_trainer, log_every_n_steps=0) == {}
