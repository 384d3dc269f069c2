"""Which checkpoint files a run keeps, and that each is whole."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from anybodys import StopAt
from lightning.pytorch import Callback, LightningModule, Trainer

from callbacks import Checkpoints
from common.files import read_tensors
from datamodules import PalindromeDataModule
from lightning_modules import PalindromeLSTM

Fit = Callable[..., Trainer]


class Scripted(PalindromeLSTM):
    """Logs the given scores, one per validation."""

    scores: list[float]

    def on_validation_epoch_end(self) -> None:
        self.log("score", self.scores.pop(0))


def scripted(*scores: float) -> Scripted:
    module = Scripted(hidden_size=4)
    module.scores = list(scores)
    return module


def palindromes() -> PalindromeDataModule:
    return PalindromeDataModule(length=5, batch_size=4, batches_per_epoch=2, validation_batches=1)


@pytest.fixture
def fit(plain_trainer: Callable[..., Trainer]) -> Fit:
    """Trains with a validation every two batches and returns the Trainer."""

    def fit(module: LightningModule, max_steps: int, checkpoints: Checkpoints, **more: Any) -> Trainer:
        resume = more.pop("resume", None)
        trainer = plain_trainer(max_steps, **{"callbacks": [checkpoints], "enable_checkpointing": True, **more})
        trainer.fit(module, datamodule=palindromes(), ckpt_path=resume, weights_only=True if resume else None)
        return trainer

    return fit


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "checkpoints").iterdir())


def step_of(path: Path) -> int:
    return int(read_tensors(path)["global_step"])


def same_weights(path: Path, module: LightningModule) -> bool:
    saved = read_tensors(path)["state_dict"]
    return all(torch.equal(saved[name], value) for name, value in module.state_dict().items())


@pytest.mark.parametrize(
    ("save_top_k", "steps"), [(1, ["step=000007.ckpt"]), (2, ["step=000006.ckpt", "step=000007.ckpt"]), (-1, None)]
)
def test_newest_stay_and_last_is_final_state(
    fit: Fit, tmp_path: Path, save_top_k: int, steps: list[str] | None
) -> None:
    module = scripted(*range(4))
    fit(module, 7, Checkpoints(every_n_train_steps=2, save_top_k=save_top_k))
    assert names(tmp_path) == ["last.ckpt", *(steps or [f"step={step:06d}.ckpt" for step in (2, 4, 6, 7)])]
    folder = tmp_path / "checkpoints"
    assert same_weights(folder / "last.ckpt", module)
    assert read_tensors(folder / "last.ckpt")["epoch"] == 3  # max_steps broke it off, so it isn't complete
    assert (folder / "last.ckpt").read_bytes() == (folder / "step=000007.ckpt").read_bytes()


@pytest.mark.parametrize("future", [True, False])
def test_newest_is_kept_despite_clock_or_earlier_run(fit: Fit, tmp_path: Path, future: bool) -> None:
    fit(scripted(*range(4)), 8, Checkpoints(every_n_train_steps=2))
    (tmp_path / "checkpoints" / "step=000001-mine.ckpt").touch()  # a file of the user's own stays
    if future:
        for path in (tmp_path / "checkpoints").iterdir():
            os.utime(path, (2e9, 2e9))
    fit(scripted(*range(2)), 4, Checkpoints(every_n_train_steps=2))
    assert len(names(tmp_path)) == 4
    assert {"step=000001-mine.ckpt", "step=000004.ckpt"} < set(names(tmp_path))
    assert step_of(tmp_path / "checkpoints" / "last.ckpt") == 4


@pytest.mark.parametrize("max_steps", [9, -1])
def test_last_is_written_when_epochs_end_training(fit: Fit, tmp_path: Path, max_steps: int) -> None:
    checkpoints = Checkpoints(every_n_train_steps=3)
    for folder in (tmp_path / "first", tmp_path / "second"):  # the callback may be used again
        fit(scripted(0, 0), max_steps, checkpoints, default_root_dir=folder, max_epochs=2)
        assert names(folder) == ["last.ckpt", "step=000003.ckpt", "step=000004.ckpt"]
        assert step_of(folder / "checkpoints" / "last.ckpt") == 4


@pytest.mark.parametrize("stop", [1, 4])
@pytest.mark.parametrize("stopper_first", [True, False])
def test_early_stop_saves_last_state(fit: Fit, tmp_path: Path, stop: int, stopper_first: bool) -> None:
    checkpoints, module = Checkpoints(every_n_train_steps=100), scripted(*range(4))
    callbacks = [StopAt(stop), checkpoints] if stopper_first else [checkpoints, StopAt(stop)]
    fit(module, 9, checkpoints, callbacks=callbacks)
    assert names(tmp_path) == ["last.ckpt", f"step={stop:06d}.ckpt"]
    assert step_of(tmp_path / "checkpoints" / "last.ckpt") == stop
    assert same_weights(tmp_path / "checkpoints" / "last.ckpt", module)


def test_file_is_published_after_its_row_is_logged(fit: Fit, tmp_path: Path) -> None:
    from twofold.csv_logger import CSVLogger

    class Look(Callback):
        def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
            rows = [int(row["step"]) for row in logger.rows()]
            found.append((rows, (tmp_path / "checkpoints" / "last.ckpt").exists()))

    found: list[tuple[list[int], bool]] = []
    logger = CSVLogger(str(tmp_path))
    callbacks = [Checkpoints(every_n_train_steps=1), Look()]
    options = {"callbacks": callbacks, "logger": logger, "log_every_n_steps": 1, "limit_val_batches": 0}
    fit(scripted(), 2, Checkpoints(), **options)
    assert found == [([], False), ([0], True)]


@pytest.mark.parametrize(
    ("mode", "scores", "best"),
    [
        ("max", [0.1, 0.5, 0.3], 4),
        ("max", [0.5, 0.5, 0.1], 4),
        ("min", [0.5, 0.1, 0.3], 4),
        ("min", [-1.0, -2.0, -3.0], 6),
        ("max", [float("nan"), 0.1, float("nan")], 4),
    ],
)
def test_best_is_chosen_by_the_metric(fit: Fit, tmp_path: Path, mode: Any, scores: list[float], best: int) -> None:
    fit(scripted(*scores), 6, Checkpoints(every_n_train_steps=100, monitor="score", mode=mode))
    assert names(tmp_path) == ["best.ckpt", "last.ckpt", "step=000006.ckpt"]
    assert step_of(tmp_path / "checkpoints" / "best.ckpt") == best


def test_best_and_last_survive_a_moved_folder(fit: Fit, tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    trainer = fit(scripted(0.9, 0.2), 4, Checkpoints(every_n_train_steps=2, monitor="score"), default_root_dir=here)
    for name, step in {"best": 2, "last": 4}.items():
        trainer.validate(scripted(0), datamodule=palindromes(), ckpt_path=name, verbose=False, weights_only=True)
        assert step_of(Path(str(trainer.ckpt_path))) == step
    here.rename(there)
    checkpoints = Checkpoints(every_n_train_steps=3, monitor="score")
    fit(scripted(0.5), 6, checkpoints, resume="last", default_root_dir=there)
    assert not here.exists()
    assert names(there) == ["best.ckpt", "last.ckpt", "step=000004.ckpt", "step=000006.ckpt"]
    assert step_of(there / "checkpoints" / "best.ckpt") == 2
    assert checkpoints.best_model_path == str(there / "checkpoints" / "best.ckpt")


def test_checkpoint_holds_the_validation_of_its_batch(fit: Fit, tmp_path: Path) -> None:
    checkpoints = Checkpoints(every_n_train_steps=2, monitor="score")
    fit(scripted(0.9), 2, checkpoints)
    saved = read_tensors(tmp_path / "checkpoints" / "step=000002.ckpt")["callbacks"]
    assert saved[checkpoints.state_key]["best_model_score"] == pytest.approx(0.9)
    for other in (Checkpoints(monitor="other"), Checkpoints(monitor="score", mode="min")):
        assert other.state_key not in saved  # so its best isn't taken for another metric's


@pytest.mark.parametrize("failing", ["save", "copy"])
def test_failed_write_leaves_previous_files(
    fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    fit(scripted(0), 2, Checkpoints())
    folder = tmp_path / "checkpoints"
    before = (folder / "last.ckpt").read_bytes()

    def half(*arguments: Any, **_: Any) -> None:
        Path(arguments[-1]).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    if failing == "save":
        monkeypatch.setattr(Trainer, "save_checkpoint", half)
    else:
        monkeypatch.setattr(shutil, "copyfile", half)
    with pytest.raises(OSError, match="No space"):
        fit(scripted(0), 2, Checkpoints())
    assert (folder / "last.ckpt").read_bytes() == before
    assert step_of(folder / "step=000002.ckpt") == 2


@pytest.mark.parametrize(
    ("monitor", "sanity", "batches"), [("val/acuracy", 1, 0), ("val/acuracy", 0, 2), ("accuracy", 1, 2)]
)
def test_unlogged_metric_is_refused(fit: Fit, monitor: str, sanity: int, batches: int) -> None:
    module = scripted(0, 1)
    words = f"monitor is '{monitor}', which isn't logged; write one of .*val/accuracy, val/loss"
    with pytest.raises(ValueError, match=words):
        fit(module, 2, Checkpoints(monitor=monitor), num_sanity_val_steps=sanity)
    assert module.trainer.global_step == batches


def test_a_monitor_without_validation_is_refused(fit: Fit) -> None:
    with pytest.raises(ValueError, match="after validations, and this run has none; write null"):
        fit(scripted(0), 2, Checkpoints(monitor="score"), limit_val_batches=0)


def test_sanity_check_and_validate_save_nothing(
    fit: Fit, plain_trainer: Callable[..., Trainer], tmp_path: Path
) -> None:
    checkpoints = Checkpoints(monitor="score")
    fit(scripted(0.9, 0.1), 2, checkpoints, num_sanity_val_steps=1)
    assert checkpoints.best_model_score == pytest.approx(0.1)
    shutil.rmtree(tmp_path / "checkpoints")
    trainer = plain_trainer(callbacks=[checkpoints], enable_checkpointing=True)
    trainer.validate(scripted(0.95), datamodule=palindromes(), verbose=False)
    fit(scripted(0), 2, Checkpoints(every_n_train_steps=1, monitor="score"), fast_dev_run=2)
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"every_n_train_steps": 0}, "every_n_train_steps is 0; write 1 or more"),
        ({"save_top_k": 0}, "save_top_k is 0; write 1 or more"),
        ({"mode": "maximum"}, "maximum"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_bad_arguments_are_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(Exception, match=words):
        Checkpoints(**arguments)
