"""Training ends when it is solved, also after a resume."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.strategies import SingleDeviceStrategy
from small_modules import Scripted

from callbacks import Checkpoints, LengthCurriculum, StopWhenSolved
from callbacks.perfect_batches import PerfectBatches, read_interval
from datamodules import PalindromeDataModule
from twofold.loggers import CSVLogger

MakeTrainer = Callable[..., Trainer]


def data(length: int = 20) -> PalindromeDataModule:
    return PalindromeDataModule(length, batch_size=4, batches_per_epoch=3, validation_batches=1)


def steps(
    make: MakeTrainer, callbacks: list[Callback], *accuracies: float, limit: int = 20, resume: Any = None, **more: Any
) -> int:
    """How many batches were trained in all."""
    trainer = make(max_steps=limit, callbacks=callbacks, **more)
    weights_only = None if resume is None else True
    trainer.fit(Scripted([*accuracies]), datamodule=data(), ckpt_path=resume, weights_only=weights_only)
    return trainer.global_step


@pytest.mark.parametrize(
    ("stop", "accuracies", "expected"),
    [
        (StopWhenSolved(1), [1], 1),
        (StopWhenSolved(4), [1], 4),
        (StopWhenSolved(), [0.5, 1], 11),  # by default ten batches
        (StopWhenSolved(3), [1, 1, 0.99, 1, 0, 1], 8),  # in a row
        (StopWhenSolved(3), [1, 1, 0.75], 11),  # unsolved at max_steps
    ],
)
def test_training_ends_after_perfect_batches(
    plain_trainer: MakeTrainer, stop: StopWhenSolved, accuracies: list[float], expected: int
) -> None:
    assert steps(plain_trainer, [stop], *accuracies, limit=11) == expected


@pytest.mark.parametrize("curriculum_first", [True, False])
@pytest.mark.parametrize(("perfect_batches", "expected"), [(1, 7), (2, 8), (3, 9)])
def test_shorter_palindromes_do_not_count(
    plain_trainer: MakeTrainer, curriculum_first: bool, perfect_batches: int, expected: int
) -> None:
    # Batches 1 to 3 have length 5, 4 to 6 have 10, only those after have 20.
    callbacks: list[Callback] = [LengthCurriculum(5, factor=2.0, perfect_batches=3), StopWhenSolved(perfect_batches)]
    assert steps(plain_trainer, callbacks if curriculum_first else callbacks[::-1], 1) == expected


@pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no `val_dataloader`:UserWarning")
def test_it_needs_no_datamodule(plain_trainer: MakeTrainer) -> None:
    trainer = plain_trainer(max_steps=20, callbacks=[StopWhenSolved(2)], limit_val_batches=0)
    trainer.fit(Scripted([0, 1]), data().train_dataloader())
    assert trainer.global_step == 3


@pytest.mark.parametrize("perfect_batches", [2, 3, 4])
def test_validation_runs_at_the_end(plain_trainer: MakeTrainer, perfect_batches: int) -> None:
    module = Scripted([1])
    trainer = plain_trainer(max_steps=20, callbacks=[StopWhenSolved(perfect_batches)])
    trainer.fit(module, datamodule=data())
    assert trainer.global_step == perfect_batches
    assert module.validations == (1 if perfect_batches <= 3 else 2)  # an epoch has 3 batches
    assert "val/accuracy" in trainer.callback_metrics


KEEPING: dict[str, Any] = {"enable_checkpointing": True, "limit_val_batches": 1}


@pytest.mark.parametrize("perfect_batches", [2, 3, 4])
def test_solved_run_trains_no_further_batch(plain_trainer: MakeTrainer, tmp_path: Path, perfect_batches: int) -> None:
    callbacks: list[Callback] = [StopWhenSolved(perfect_batches), Checkpoints(every_n_train_steps=1)]
    assert steps(plain_trainer, callbacks, 1, **KEEPING) == perfect_batches
    resume = tmp_path / "checkpoints" / "last.ckpt"
    before = torch.load(resume, weights_only=True)["state_dict"]
    module = Scripted([1])
    trainer = plain_trainer(max_steps=20, callbacks=[StopWhenSolved(perfect_batches)])
    trainer.fit(module, datamodule=data(), ckpt_path=resume, weights_only=True)
    assert trainer.global_step == perfect_batches
    assert all(torch.equal(weights, before[name]) for name, weights in module.state_dict().items())


@pytest.mark.parametrize(("limit", "rows"), [(20, [(4, 4.0)]), (3, [])])
def test_batches_until_solved_are_logged(
    plain_trainer: MakeTrainer, tmp_path: Path, limit: int, rows: list[tuple[int, float]]
) -> None:
    logger = CSVLogger(str(tmp_path))
    steps(plain_trainer, [StopWhenSolved(3)], 0.5, 1, limit=limit, logger=logger, log_every_n_steps=1)
    key = "final/batches_until_solved"
    assert [(row["step"], row[key]) for row in logger.rows() if key in row] == rows


# On an accelerator the count is read every tenth batch.

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
    assert steps(plain_trainer, [StopWhenSolved(3), Checkpoints()], *accuracies, limit=40, **KEEPING) == expected


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

    assert steps(plain_trainer, callbacks(), *accuracies, limit=40, **KEEPING) == expected
    assert steps(plain_trainer, callbacks(), *accuracies[:reached], limit=reached, **KEEPING) == reached
    last, rest = tmp_path / "checkpoints" / "last.ckpt", accuracies[reached:] or [1.0]
    assert steps(plain_trainer, callbacks(), *rest, limit=40, resume=last, **KEEPING) == expected
