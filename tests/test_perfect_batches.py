"""The count of perfect batches on an accelerator, which is read every tenth batch."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.strategies import SingleDeviceStrategy
from small_modules import Scripted

from callbacks import Checkpoints, LengthCurriculum, StopWhenSolved
from callbacks.perfect_batches import PerfectBatches, read_interval
from datamodules import PalindromeDataModule

MakeTrainer = Callable[..., Trainer]


Count = Callable[[str, int], tuple[PerfectBatches, Trainer]]


@pytest.fixture
def count(plain_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch) -> Count:
    """Counts perfect batches on a device, each asking whether they are enough; returns the callback and the Trainer."""

    def run(device: str, batches: int) -> tuple[PerfectBatches, Trainer]:
        monkeypatch.setattr(SingleDeviceStrategy, "root_device", torch.device(device))
        callback, trainer, accuracy = PerfectBatches(3), plain_trainer(), torch.ones((), device=device)
        total: Any = trainer.fit_loop.epoch_loop.batch_progress.total
        for batch in range(1, batches + 1):
            total.started = total.processed = batch
            callback.count(trainer, {"accuracy": accuracy})
            assert not callback.found_solved(trainer)
        total.started = total.processed = batches + 1
        return callback, trainer

    return run


def test_the_device_is_read_every_tenth_batch(count: Count) -> None:
    callback, trainer = count("meta", 9)
    with pytest.raises(RuntimeError, match="meta"):  # which has no values to read
        callback.found_solved(trainer)
    assert (read_interval(torch.device("cpu")), read_interval(torch.device("cuda"))) == (1, 10)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_counting_does_not_wait_for_a_gpu(count: Count) -> None:
    torch.cuda.set_sync_debug_mode("error")
    try:
        callback, trainer = count("cuda", 9)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert callback.found_solved(trainer)


@pytest.fixture
def accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reads as on an accelerator."""
    monkeypatch.setattr("callbacks.perfect_batches.read_interval", lambda device: 10)


def fit(make: MakeTrainer, callbacks: list[Any], accuracies: list[float], limit: int = 40, **more: Any) -> int:
    """Returns how many batches were trained in all."""
    trainer = make(limit, callbacks=callbacks, limit_val_batches=1, enable_checkpointing=True)
    data = PalindromeDataModule(20, batch_size=4, batches_per_epoch=7)
    trainer.fit(Scripted(accuracies), datamodule=data, **more)
    return trainer.global_step


@pytest.mark.usefixtures("accelerator")
@pytest.mark.parametrize(
    ("accuracies", "expected"),
    [
        ([1.0], 10),
        ([0.5, 1.0], 10),
        ([1.0] * 9 + [0.5, 1.0], 20),  # the streak is over when it is read
        ([1.0] * 7 + [0.5, 1.0], 20),  # 2 in a row at batch 10
        ([0.5], 40),
    ],
)
def test_a_run_ends_where_the_count_is_read(plain_trainer: MakeTrainer, accuracies: list[float], expected: int) -> None:
    assert fit(plain_trainer, [StopWhenSolved(3), Checkpoints()], accuracies) == expected


@pytest.mark.usefixtures("accelerator")
@pytest.mark.parametrize("reached", [9, 10, 13, 16, 19])
@pytest.mark.parametrize(("growing", "expected"), [(True, 30), (False, 20)])  # at batch 20 the length grows
def test_a_resumed_run_reads_after_the_same_batches(
    plain_trainer: MakeTrainer, tmp_path: Path, growing: bool, expected: int, reached: int
) -> None:
    accuracies = [1.0] * 9 + [0.5] + [1.0] * 5 + [0.5] + [1.0]  # batches 10 and 16 have errors

    def callbacks() -> list[Any]:
        curriculum = [LengthCurriculum(18, factor=1.2, perfect_batches=3)] if growing else []
        return [*curriculum, StopWhenSolved(2), Checkpoints()]

    assert fit(plain_trainer, callbacks(), [*accuracies]) == expected
    assert fit(plain_trainer, callbacks(), accuracies[:reached], limit=reached) == reached
    last = tmp_path / "checkpoints" / "last.ckpt"
    resumed = fit(plain_trainer, callbacks(), accuracies[reached:] or [1.0], ckpt_path=last, weights_only=True)
    assert resumed == expected
