"""How long a batch takes, on a scripted clock."""

import time
from collections.abc import Callable

import pytest
from anybodys import StopAt
from lightning.pytorch import Trainer
from row_logger import RowLogger

from callbacks import Timer
from datamodules import PalindromeDataModule
from lightning_modules import PalindromeLSTM


@pytest.mark.parametrize(
    ("interval", "stop", "expected"),
    [
        (3, 99, {2: [500 / 3, 0.5], 5: [6000 / 3, 6.5]}),  # Lightning counts the batches before
        (3, 4, {2: [500 / 3, 0.5], 3: [6000, 6.5]}),  # also logged when training is stopped
        (0, 5, {}),
    ],
)
def test_mean_since_last_time_is_logged_at_the_interval(
    plain_trainer: Callable[..., Trainer],
    monkeypatch: pytest.MonkeyPatch,
    interval: int,
    stop: int,
    expected: dict[int, list[float]],
) -> None:
    readings = iter([10.0, 10.5, 16.5])  # seconds: at the start, then each time it is logged
    monkeypatch.setattr(time, "perf_counter", lambda: next(readings, 99.0))
    rows = RowLogger()
    data = PalindromeDataModule(length=5, batch_size=4, batches_per_epoch=3, validation_batches=1)
    callbacks = [StopAt(stop), Timer()]
    plain_trainer(max_steps=7, logger=rows, callbacks=callbacks, log_every_n_steps=interval).fit(
        PalindromeLSTM(4), datamodule=data
    )
    found = {step: [row["time/ms_per_batch"], row["time/seconds"]] for step, row in rows.of("time/").items()}
    assert found == {step: pytest.approx(times) for step, times in expected.items()}
