"""Where a run's numbers go."""

import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import wandb
from wandb_file import WandbFile, read_wandb

from twofold.loggers import CSVLogger, TwofoldWandbLogger


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def test_rows_are_on_disk_at_once_and_times_apart(tmp_path: Path) -> None:
    logger = CSVLogger(str(tmp_path))
    logger.log_metrics({"train/loss": 0.5, "time/ms_per_batch": 3.25, "epoch": 0}, step=9)
    assert lines(tmp_path / "metrics.csv") == ["step,train/loss,epoch", "9,0.5,0"]
    assert lines(tmp_path / "timing.csv") == ["step,time/ms_per_batch", "9,3.25"]


def test_columns_grow(tmp_path: Path) -> None:
    logger = CSVLogger(str(tmp_path))
    logger.log_metrics({"train/loss": 0.5}, step=0)
    logger.log_metrics({"val/loss": 0.25}, step=0)
    logger.log_metrics({"train/loss": 0.125}, step=1)
    assert lines(tmp_path / "metrics.csv") == ["step,train/loss,val/loss", "0,0.5,", "0,,0.25", "1,0.125,"]


def test_only_times_and_epochs_make_no_row_of_metrics(tmp_path: Path) -> None:
    CSVLogger(str(tmp_path)).log_metrics({"time/ms_per_batch": 1.0, "epoch": 3}, step=0)
    assert not (tmp_path / "metrics.csv").exists()


def test_another_process_goes_on_in_the_same_files(tmp_path: Path) -> None:
    CSVLogger(str(tmp_path)).log_metrics({"b": 1.0, "a": 2.0}, step=0)
    CSVLogger(str(tmp_path)).log_metrics({"a": 3.0, "b": 4.0}, step=1)
    assert lines(tmp_path / "metrics.csv") == ["step,b,a", "0,1.0,2.0", "1,4.0,3.0"]


def test_resuming_cuts_the_rows_that_come_again(tmp_path: Path) -> None:
    logger = CSVLogger(str(tmp_path))
    for step in (8, 9, 10, 100):
        logger.log_metrics({"a": float(step), "time/b": 1.0}, step=step)
    logger.log_metrics({"val/a": 0.1}, step=10)
    CSVLogger(str(tmp_path)).drop_from(10)
    assert lines(tmp_path / "metrics.csv") == ["step,a", "8,8.0", "9,9.0"]
    assert lines(tmp_path / "timing.csv") == ["step,time/b", "8,1.0", "9,1.0"]


def test_cutting_every_row_makes_a_fresh_file(tmp_path: Path) -> None:
    """Were the old columns kept, a resumed run's file could differ from one never killed."""
    logger = CSVLogger(str(tmp_path))
    logger.log_metrics({"old": 1.0}, step=0)
    logger.drop_from(0)
    logger.log_metrics({"new": 1.0}, step=0)
    assert lines(tmp_path / "metrics.csv") == ["step,new", "0,1.0"]
    CSVLogger(str(tmp_path / "nothing")).drop_from(0)
    assert not (tmp_path / "nothing").exists()


@pytest.mark.usefixtures("without_account")
def test_wandb_records_offline_without_a_key_and_never_asks(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("it asked"))
    monkeypatch.setattr("getpass.getpass", lambda *_: pytest.fail("it asked"))
    logger = TwofoldWandbLogger(save_dir=str(tmp_path), id="one-run")
    logger.log_metrics({"a": 1.0}, step=0)
    logger.finalize("success")
    wandb.teardown()  # waits for the file
    [folder] = tmp_path.glob("wandb/offline-run-*-one-run")
    assert (folder / "run-one-run.wandb").stat().st_size > 100
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("without_account")
def test_wandb_can_be_disabled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        logger = TwofoldWandbLogger(save_dir=str(tmp_path), id="one-run")
        logger.log_metrics({"a": 1.0}, step=0)
        logger.finalize("success")
    assert not (tmp_path / "wandb").exists()


@pytest.mark.usefixtures("without_account")
@pytest.mark.parametrize(("key", "told"), [("c0ffee", "must have 40"), ("c0ffee42" * 5 + " ", "whitespace")])
def test_an_impossible_key_is_told_once_and_the_run_recorded_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], key: str, told: str
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", key)
    logger = TwofoldWandbLogger(save_dir=str(tmp_path), id="one-run", log_model=True)
    with pytest.warns(UserWarning, match=told) as warned:
        logger.log_metrics({"a": 1.0}, step=0)
    logger.finalize("success")
    [warning] = warned
    assert key not in str(warning.message)
    assert str(warning.message).endswith(f"wandb sync {tmp_path}/wandb/offline-*")
    wandb.teardown()  # waits for the file
    assert (tmp_path / "wandb" / "latest-run" / "run-one-run.wandb").stat().st_size > 100
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("without_account")
def test_settings_that_w_b_can_t_read_leave_it_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_MODE", "sideways")
    logger = TwofoldWandbLogger(save_dir=str(tmp_path), id="one-run")
    with pytest.warns(UserWarning, match=r"sideways.*nothing is recorded"):
        logger.log_metrics({"a": 1.0}, step=0)
    logger.log_hyperparams({"b": 1})
    logger.log_image("images", [np.zeros((2, 2))], step=1)
    assert logger.version == "one-run"
    logger.finalize("success")
    assert not (tmp_path / "wandb").exists()
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("without_account")
def test_the_death_of_w_b_s_process_becomes_one_warning(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    logger = TwofoldWandbLogger(save_dir=str(tmp_path), id="one-run")
    logger.log_metrics({"a": 1.0}, step=0)
    process = wandb.setup().ensure_service()._proc._process  # type: ignore[union-attr]
    process.kill()
    process.wait()
    for step in range(1, 100):
        logger.log_metrics({"a": 1.0}, step=step)
    logger.log_hyperparams({"b": 1})
    logger.finalize("failed")
    [warning] = recwarn
    assert str(warning.message).startswith("W&B: ")
    assert wandb.run is None


@pytest.mark.usefixtures("without_account")
def test_without_a_picture_the_numbers_are_still_recorded(tmp_path: Path) -> None:
    logger = TwofoldWandbLogger(save_dir=str(tmp_path), id="one-run")
    with pytest.warns(UserWarning, match=r"missing\.png"):
        logger.log_image("images", [str(tmp_path / "missing.png")], step=1)
    logger.log_metrics({"a": 1.0}, step=2)
    assert logger.experiment.summary["a"] == 1.0
    logger.finalize("success")


@pytest.mark.usefixtures("without_account")
def test_w_b_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    def waits(log_model: bool = False) -> tuple[float, float]:
        settings = TwofoldWandbLogger(log_model=log_model)._wandb_init["settings"]
        return settings.init_timeout, settings.finish_timeout

    assert waits() == (10, 10)
    assert waits(log_model=True) == (10, 600)
    monkeypatch.setenv("WANDB_INIT_TIMEOUT", "30")
    assert "init_timeout" not in TwofoldWandbLogger()._wandb_init["settings"].model_fields_set, (
        "the environment's counts"
    )


def recorded(logger: TwofoldWandbLogger, folder: Path) -> WandbFile:
    """What there is once the run has ended."""
    logger.finalize("success")
    wandb.teardown()  # waits for the file
    [path] = folder.glob("wandb/offline-run-*/*.wandb")
    return read_wandb(path)


@pytest.mark.usefixtures("without_account")
def test_late_rows_and_several_of_one_batch_are_all_kept(tmp_path: Path) -> None:
    logger = TwofoldWandbLogger(save_dir=str(tmp_path))
    rows = [(0, {"a": 1.0}), (4, {"a": 2.0}), (3, {"b": 3.0}), (4, {"b": 4.0}), (5, {"c": 5.0}), (4, {"c": 6.0})]
    for step, row in rows:
        logger.log_metrics(row, step)
    run = recorded(logger, tmp_path)
    assert run.points("a") == [(0, 1.0), (4, 2.0)]
    assert run.points("b") == [(3, 3.0), (4, 4.0)]
    assert run.points("c") == [(5, 5.0), (4, 6.0)]


@pytest.mark.usefixtures("without_account")
def test_of_the_rows_before_a_resume_the_last_and_the_best_are_recalled(tmp_path: Path) -> None:
    before = CSVLogger(str(tmp_path))
    fids, accuracies = [9.0, float("nan"), 5.0, 7.0], [0.5, 0.9, 0.9, 0.8]
    for step, (fid, accuracy) in enumerate(zip(fids, accuracies, strict=True)):
        before.log_metrics({"quality/fid": fid, "val/accuracy": accuracy, "train/loss": 4.0 - step}, step)
    before.log_metrics({"only/once": 1.0}, 1)
    logger = TwofoldWandbLogger(save_dir=str(tmp_path))
    logger.log_again(before.rows())
    logger.log_metrics({"quality/fid": 8.0, "val/accuracy": 0.1}, 4)
    run = recorded(logger, tmp_path)
    assert run.points("quality/fid") == [(2, 5.0), (3, 7.0), (4, 8.0)]
    assert run.points("val/accuracy") == [(1, 0.9), (3, 0.8), (4, 0.1)]
    assert run.points("train/loss") == [(3, 1.0)]
    assert run.points("only/once") == [(1, 1.0)]
    assert run.summary["quality/fid"] == {"min": 5.0, "last": 8.0}
    assert run.summary["val/accuracy"] == {"max": 0.9, "last": 0.1}
    assert (run.summary["train/loss"], run.summary["only/once"]) == (1.0, 1.0)


@pytest.mark.usefixtures("without_account")
def test_tags_are_added_to_those_asked_for(tmp_path: Path) -> None:
    logger = TwofoldWandbLogger(save_dir=str(tmp_path), tags=["mine", "gan"])
    logger.add_tags(["gan", "x" * 100])
    assert recorded(logger, tmp_path).tags == ["mine", "gan", "x" * 64]


@pytest.mark.usefixtures("without_account")
@pytest.mark.parametrize("log_model", [True, False])
def test_models_are_artifacts_when_asked(tmp_path: Path, log_model: bool) -> None:
    for name, content in {"a.pth": "weights", "a.json": '{"step": 3}', "best.ckpt": "state"}.items():
        (tmp_path / name).write_text(content)
    logger = TwofoldWandbLogger(save_dir=str(tmp_path), id="one-run", log_model=log_model)
    logger.keep_model(tmp_path / "a.pth")
    logger.keep_model(tmp_path / "best.ckpt")
    logger.log_metrics({"a": 1.0}, 0)
    run = recorded(logger, tmp_path)
    kept = {name: {file: copy.read_text() for file, copy in files.items()} for name, files in run.artifacts.items()}
    both = {"a-one-run": {"a.pth": "weights", "a.json": '{"step": 3}'}, "best-one-run": {"best.ckpt": "state"}}
    assert kept == (both if log_model else {})
    assert not log_model or run.metadata["a-one-run"] == {"step": 3}
    assert "WANDB_DATA_DIR" not in os.environ


@pytest.mark.usefixtures("without_account")
def test_a_model_that_can_t_be_kept_is_told_of_once(tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_text("weights")
    (tmp_path / "wandb").mkdir()
    (tmp_path / "wandb" / "artifacts").write_text("where copies would wait")
    logger = TwofoldWandbLogger(save_dir=str(tmp_path), id="one-run", log_model=True)
    with pytest.warns(UserWarning, match="something is not recorded"):
        logger.keep_model(tmp_path / "a.pth")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        logger.keep_model(tmp_path / "a.pth")
        logger.log_table("some", ["a"], [[1]])
    logger.log_metrics({"a": 1.0}, 0)
    assert recorded(logger, tmp_path).points("a") == [(0, 1.0)]


@pytest.mark.usefixtures("without_account")
def test_disabled_takes_it_all_in_silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    (tmp_path / "a.pth").write_text("weights")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        logger = TwofoldWandbLogger(save_dir=str(tmp_path), id="one-run", log_model=True)
        logger.add_tags(["gan"])
        logger.log_again([{"step": 1.0, "a": 2.0}])
        logger.log_table("some", ["a"], [[1]])
        logger.keep_model(tmp_path / "a.pth")
        logger.finalize("success")
    assert not (tmp_path / "wandb").exists()
