"""Which checkpoint files a run leaves, and that none is ever half there."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from callbacks import Checkpoints
from datamodules import PalindromeDataModule
from lightning_modules import PalindromeLSTM

MakeTrainer = Callable[..., Trainer]


class Scripted(PalindromeLSTM):
    """Logs the given scores, one for each validation."""

    scores: list[float]

    def on_validation_epoch_end(self) -> None:
        self.log("score", self.scores.pop(0))


def scripted(*scores: float) -> Scripted:
    module = Scripted(hidden_size=4)
    module.scores = list(scores)
    return module


def fit(
    make: MakeTrainer,
    module: LightningModule,
    max_steps: int,
    checkpoints: Checkpoints,
    resume: Any = None,
    **more: Any,
) -> None:
    """Trains with a validation every two batches."""
    data = PalindromeDataModule(length=5, batch_size=4, batches_per_epoch=2, validation_batches=1)
    trainer = make(**{"max_steps": max_steps, "callbacks": [checkpoints], "enable_checkpointing": True, **more})
    trainer.fit(module, datamodule=data, ckpt_path=resume, weights_only=True if resume else None)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "checkpoints").iterdir())


def step_of(path: Path) -> int:
    return int(torch.load(path, weights_only=True)["global_step"])


def test_the_newest_two_stay_and_last_is_the_state_in_which_training_ended(
    plain_trainer: MakeTrainer, tmp_path: Path
) -> None:
    module = scripted(*range(4))
    fit(plain_trainer, module, 7, Checkpoints(every_n_batches=2))
    folder = tmp_path / "checkpoints"
    assert names(tmp_path) == ["last.ckpt", "step=000006.ckpt", "step=000007.ckpt"]
    assert [step_of(folder / name) for name in names(tmp_path)] == [7, 6, 7]
    saved = torch.load(folder / "last.ckpt", weights_only=True)["state_dict"]
    assert all(torch.equal(saved[name], value) for name, value in module.state_dict().items())
    assert (folder / "last.ckpt").read_bytes() == (folder / "step=000007.ckpt").read_bytes()


def test_what_was_just_written_stays_whatever_the_clock_says(plain_trainer: MakeTrainer, tmp_path: Path) -> None:
    fit(plain_trainer, scripted(*range(4)), 6, Checkpoints(every_n_batches=2))
    for path in (tmp_path / "checkpoints").iterdir():
        os.utime(path, (2e9, 2e9))
    fit(plain_trainer, scripted(*range(4)), 8, Checkpoints(every_n_batches=2), tmp_path / "checkpoints" / "last.ckpt")
    assert len(names(tmp_path)) == 3
    assert names(tmp_path)[-1] == "step=000008.ckpt"
    assert step_of(tmp_path / "checkpoints" / "last.ckpt") == 8


@pytest.mark.parametrize("stop", [{"max_epochs": 2}, {"max_epochs": 2, "max_steps": -1}])
def test_last_is_also_written_when_something_else_ends_training(
    plain_trainer: MakeTrainer, tmp_path: Path, stop: dict[str, int]
) -> None:
    fit(plain_trainer, scripted(0, 0), **{"max_steps": 9, "checkpoints": Checkpoints(every_n_batches=3), **stop})  # type: ignore[arg-type]
    assert names(tmp_path) == ["last.ckpt", "step=000003.ckpt", "step=000004.ckpt"]
    assert step_of(tmp_path / "checkpoints" / "last.ckpt") == 4


def test_an_epoch_that_max_steps_broke_off_is_not_saved_as_complete(plain_trainer: MakeTrainer, tmp_path: Path) -> None:
    fit(plain_trainer, scripted(0, 0), 3, Checkpoints(every_n_batches=100))
    assert torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)["epoch"] == 1


@pytest.mark.parametrize("stop", [1, 3, 4])
@pytest.mark.parametrize("stopper_first", [True, False])
def test_a_run_that_is_stopped_early_has_the_last_state(
    plain_trainer: MakeTrainer, tmp_path: Path, stop: int, stopper_first: bool
) -> None:
    class Stop(Callback):
        def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
            trainer.should_stop |= trainer.global_step == stop

    checkpoints = Checkpoints(every_n_batches=100)
    module = scripted(*range(4))
    callbacks = [Stop(), checkpoints] if stopper_first else [checkpoints, Stop()]
    fit(plain_trainer, module, 9, checkpoints, callbacks=callbacks)
    assert names(tmp_path) == ["last.ckpt", f"step={stop:06d}.ckpt"]
    last = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["global_step"] == stop
    assert all(torch.equal(last["state_dict"][name], value) for name, value in module.state_dict().items())


def test_a_second_training_with_the_same_callback_is_saved_too(plain_trainer: MakeTrainer, tmp_path: Path) -> None:
    checkpoints = Checkpoints(every_n_batches=100)
    for folder in (tmp_path / "first", tmp_path / "second"):
        fit(plain_trainer, scripted(), -1, checkpoints, max_epochs=2, limit_val_batches=0, default_root_dir=folder)
        assert names(folder) == ["last.ckpt", "step=000004.ckpt"]


@pytest.mark.parametrize(
    ("mode", "scores", "best"),
    [
        ("max", [0.1, 0.5, 0.3], 4),
        ("max", [0.5, 0.5, 0.1], 4),
        ("max", [-3.0, -2.0, -1.0], 6),
        ("min", [0.5, 0.1, 0.3], 4),
        ("min", [3.0, 2.0, 1.0], 6),
        ("max", [float("nan"), 0.1, float("nan")], 4),
    ],
)
def test_best_is_the_best_by_the_metric(
    plain_trainer: MakeTrainer, tmp_path: Path, mode: Any, scores: list[float], best: int
) -> None:
    fit(plain_trainer, scripted(*scores), 6, Checkpoints(every_n_batches=100, monitor="score", mode=mode))
    assert names(tmp_path) == ["best.ckpt", "last.ckpt", "step=000006.ckpt"]
    assert step_of(tmp_path / "checkpoints" / "best.ckpt") == best


def test_the_best_score_and_what_is_old_survive_a_move_of_the_folder(
    plain_trainer: MakeTrainer, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"every_n_batches": 2, "monitor": "score"}
    fit(plain_trainer, scripted(0.9, 0.2), 4, Checkpoints(**settings), default_root_dir=tmp_path / "here")
    (tmp_path / "here").rename(tmp_path / "there")
    checkpoints = Checkpoints(**settings)
    resume = tmp_path / "there" / "checkpoints" / "last.ckpt"
    fit(plain_trainer, scripted(0.5), 6, checkpoints, resume, default_root_dir=tmp_path / "there")
    assert not (tmp_path / "here").exists()
    assert names(tmp_path / "there") == ["best.ckpt", "last.ckpt", "step=000004.ckpt", "step=000006.ckpt"]
    assert step_of(tmp_path / "there" / "checkpoints" / "best.ckpt") == 2
    assert checkpoints.best_score == pytest.approx(0.9)


def test_a_validation_is_remembered_by_the_checkpoint_of_the_same_batch(
    plain_trainer: MakeTrainer, tmp_path: Path
) -> None:
    fit(plain_trainer, scripted(0.9), 2, Checkpoints(every_n_batches=2, monitor="score"))
    saved = torch.load(tmp_path / "checkpoints" / "step=000002.ckpt", weights_only=True)
    assert saved["callbacks"]["Checkpoints"]["best_score"] == pytest.approx(0.9)


@pytest.mark.parametrize("change", [{"monitor": "other"}, {"mode": "min"}])
def test_the_best_by_another_measure_is_forgotten(
    plain_trainer: MakeTrainer, tmp_path: Path, change: dict[str, Any]
) -> None:
    fit(plain_trainer, scripted(0.9), 2, Checkpoints(every_n_batches=2, monitor="score"))
    saved = torch.load(tmp_path / "checkpoints" / "step=000002.ckpt", weights_only=True)["callbacks"]["Checkpoints"]
    settings: dict[str, Any] = {"monitor": "score", "mode": "max", **change}
    checkpoints = Checkpoints(**settings)
    worst = checkpoints.best_score
    checkpoints.load_state_dict(saved)
    assert checkpoints.best_score == worst


def test_an_earlier_run_that_came_further_does_not_cost_the_new_one_its_files(
    plain_trainer: MakeTrainer, tmp_path: Path
) -> None:
    fit(plain_trainer, scripted(0, 0, 0, 0), 8, Checkpoints(every_n_batches=2))
    fit(plain_trainer, scripted(0, 0), 4, Checkpoints(every_n_batches=2))
    assert names(tmp_path) == ["last.ckpt", "step=000002.ckpt", "step=000004.ckpt"]


def test_files_that_are_not_ours_stay(plain_trainer: MakeTrainer, tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "step=000001-mine.ckpt").touch()
    fit(plain_trainer, scripted(0), 3, Checkpoints(every_n_batches=1, keep=1))
    assert names(tmp_path) == ["last.ckpt", "step=000001-mine.ckpt", "step=000003.ckpt"]


@pytest.mark.parametrize("links", [True, False])
def test_a_disk_without_hard_links_gets_copies(
    plain_trainer: MakeTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    if not links:
        monkeypatch.setattr(os, "link", refuse)
    fit(plain_trainer, scripted(0), 3, Checkpoints(every_n_batches=1))
    folder = tmp_path / "checkpoints"
    assert names(tmp_path) == ["last.ckpt", "step=000002.ckpt", "step=000003.ckpt"]
    assert (folder / "last.ckpt").samefile(folder / "step=000003.ckpt") == links
    assert step_of(folder / "last.ckpt") == 3


@pytest.mark.parametrize("failing", ["save", "copy"])
def test_a_failure_while_writing_leaves_the_files_of_before(
    plain_trainer: MakeTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    fit(plain_trainer, scripted(0), 2, Checkpoints())
    folder = tmp_path / "checkpoints"
    before = (folder / "last.ckpt").read_bytes()

    def half(*arguments: Any, **_: Any) -> None:
        Path(arguments[-1]).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    if failing == "save":
        monkeypatch.setattr(Trainer, "save_checkpoint", half)
    else:
        monkeypatch.setattr(os, "link", half)
        monkeypatch.setattr(shutil, "copyfile", half)
    with pytest.raises(OSError, match="No space"):
        fit(plain_trainer, scripted(0), 2, Checkpoints())
    assert (folder / "last.ckpt").read_bytes() == before
    assert step_of(folder / "step=000002.ckpt") == 2


def test_what_a_crash_left_behind_is_not_written_through(plain_trainer: MakeTrainer, tmp_path: Path) -> None:
    fit(plain_trainer, scripted(0), 2, Checkpoints())
    folder = tmp_path / "checkpoints"
    os.link(folder / "step=000002.ckpt", folder / f".last.ckpt.{os.getpid()}.part")
    fit(plain_trainer, scripted(0, 0), 3, Checkpoints())
    assert names(tmp_path) == ["last.ckpt", "step=000002.ckpt", "step=000003.ckpt"]
    assert [step_of(folder / name) for name in names(tmp_path)] == [3, 2, 3]


def test_an_unknown_metric_is_refused_with_those_that_are_logged(plain_trainer: MakeTrainer) -> None:
    with pytest.raises(ValueError, match=r"monitor is 'val/acuracy', which wasn't logged; .*val/accuracy, val/loss"):
        fit(plain_trainer, scripted(0), 2, Checkpoints(monitor="val/acuracy"))


def test_a_metric_of_validation_that_is_never_logged_is_refused_before_training(plain_trainer: MakeTrainer) -> None:
    trained: list[int] = []

    class Counts(Callback):
        def on_train_batch_start(self, *_: Any) -> None:
            trained.append(1)

    for monitor in ("val/acuracy", "score", "val/accuracy", "train/loss"):
        trained.clear()
        callbacks = [Counts(), Checkpoints(every_n_batches=9, monitor=monitor)]
        settings: dict[str, Any] = {"num_sanity_val_steps": 1, "callbacks": callbacks, "limit_val_batches": 1}
        if monitor == "val/acuracy":
            with pytest.raises(ValueError, match=r"monitor is 'val/acuracy', which wasn't logged; .*val/accuracy"):
                fit(plain_trainer, scripted(0, 1), 2, Checkpoints(), **settings)
            assert not trained
        else:
            fit(plain_trainer, scripted(0, 1), 2, Checkpoints(), **settings)
            assert len(trained) == 2


def test_the_sanity_check_and_validate_alone_keep_nothing(plain_trainer: MakeTrainer, tmp_path: Path) -> None:
    checkpoints = Checkpoints(every_n_batches=100, monitor="score")
    fit(plain_trainer, scripted(0.9, 0.1), 2, checkpoints, num_sanity_val_steps=1)
    assert checkpoints.best_score == pytest.approx(0.1)
    shutil.rmtree(tmp_path / "checkpoints")
    data = PalindromeDataModule(length=5, validation_batches=1)
    plain_trainer(callbacks=[checkpoints], enable_checkpointing=True).validate(
        scripted(0.95), datamodule=data, verbose=False
    )
    assert not (tmp_path / "checkpoints").exists()


def test_a_fast_dev_run_leaves_nothing(plain_trainer: MakeTrainer, tmp_path: Path) -> None:
    fit(plain_trainer, scripted(0), 2, Checkpoints(every_n_batches=1, monitor="score"), fast_dev_run=2)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"every_n_batches": 0}, "every_n_batches is 0; write 1 or more"),
        ({"keep": 0}, "keep is 0; write 1 or more, or switch checkpoints off"),
        ({"mode": "maximum"}, "mode is 'maximum'; write max or min"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Checkpoints(**arguments)
