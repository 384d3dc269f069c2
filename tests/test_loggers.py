"""Where a run's numbers go."""

import os
import warnings
from pathlib import Path

import pytest

from runtime.loggers import CSVFiles, WandbRun


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def test_rows_are_on_disk_at_once_and_times_apart(tmp_path: Path) -> None:
    logger = CSVFiles(str(tmp_path))
    logger.log_metrics({"train/loss": 0.5, "time/ms_per_batch": 3.25, "epoch": 0}, step=9)
    assert lines(tmp_path / "metrics.csv") == ["step,train/loss,epoch", "9,0.5,0"]
    assert lines(tmp_path / "timing.csv") == ["step,time/ms_per_batch", "9,3.25"]


def test_columns_grow(tmp_path: Path) -> None:
    logger = CSVFiles(str(tmp_path))
    logger.log_metrics({"train/loss": 0.5}, step=0)
    logger.log_metrics({"val/loss": 0.25}, step=0)
    logger.log_metrics({"train/loss": 0.125}, step=1)
    assert lines(tmp_path / "metrics.csv") == ["step,train/loss,val/loss", "0,0.5,", "0,,0.25", "1,0.125,"]


def test_only_times_and_epochs_make_no_row_of_metrics(tmp_path: Path) -> None:
    CSVFiles(str(tmp_path)).log_metrics({"time/ms_per_batch": 1.0, "epoch": 3}, step=0)
    assert not (tmp_path / "metrics.csv").exists()


def test_another_process_goes_on_in_the_same_files(tmp_path: Path) -> None:
    CSVFiles(str(tmp_path)).log_metrics({"b": 1.0, "a": 2.0}, step=0)
    CSVFiles(str(tmp_path)).log_metrics({"a": 3.0, "b": 4.0}, step=1)
    assert lines(tmp_path / "metrics.csv") == ["step,b,a", "0,1.0,2.0", "1,4.0,3.0"]


def test_resuming_cuts_the_rows_that_come_again(tmp_path: Path) -> None:
    logger = CSVFiles(str(tmp_path))
    for step in (8, 9, 10, 100):
        logger.log_metrics({"a": float(step), "time/b": 1.0}, step=step)
    logger.log_metrics({"val/a": 0.1}, step=10)
    CSVFiles(str(tmp_path)).forget_from(10)
    assert lines(tmp_path / "metrics.csv") == ["step,a", "8,8.0", "9,9.0"]
    assert lines(tmp_path / "timing.csv") == ["step,time/b", "8,1.0", "9,1.0"]


def test_cutting_every_row_makes_a_fresh_file(tmp_path: Path) -> None:
    """Were the old columns kept, a resumed run's file could differ from one never killed."""
    logger = CSVFiles(str(tmp_path))
    logger.log_metrics({"old": 1.0}, step=0)
    logger.forget_from(0)
    logger.log_metrics({"new": 1.0}, step=0)
    assert lines(tmp_path / "metrics.csv") == ["step,new", "0,1.0"]
    CSVFiles(str(tmp_path / "nothing")).forget_from(0)
    assert not (tmp_path / "nothing").exists()


@pytest.fixture
def without_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)


@pytest.mark.usefixtures("without_account")
def test_wandb_records_offline_without_a_key_and_never_asks(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("it asked"))
    monkeypatch.setattr("getpass.getpass", lambda *_: pytest.fail("it asked"))
    logger = WandbRun(save_dir=str(tmp_path), id="one-run")
    logger.log_metrics({"a": 1.0}, step=0)
    logger.finalize("success")
    [folder] = tmp_path.glob("wandb/offline-run-*-one-run")
    assert (folder / "run-one-run.wandb").stat().st_size > 0
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("without_account")
def test_wandb_can_be_disabled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        logger = WandbRun(save_dir=str(tmp_path), id="one-run")
        logger.log_metrics({"a": 1.0}, step=0)
        logger.finalize("success")
    assert not (tmp_path / "wandb").exists()
