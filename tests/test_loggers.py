"""Where a run's numbers go: CSV files and Weights & Biases."""

import errno
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import wandb
from wandb_file import WandbFile, read_wandb

import callbacks.logging
from twofold.loggers import CSVLogger, TwofoldWandbLogger


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def full_disk(*_: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_rows_are_on_disk_at_once_times_apart_and_columns_grow(tmp_path: Path) -> None:
    logger = CSVLogger(str(tmp_path))
    logger.log_metrics({"time/ms_per_batch": 1.0, "epoch": 3}, step=0)
    assert not (tmp_path / "metrics.csv").exists()
    logger.log_metrics({"train/loss": 0.5, "time/ms_per_batch": 3.25, "epoch": 0}, step=9)
    assert lines(tmp_path / "metrics.csv") == ["step,train/loss,epoch", "9,0.5,0"]
    assert lines(tmp_path / "timing.csv") == ["step,time/ms_per_batch", "0,1.0", "9,3.25"]
    logger.log_metrics({"val/loss": 0.25}, step=9)
    CSVLogger(str(tmp_path)).log_metrics({"val/loss": 0.0, "train/loss": 0.125}, step=10)  # another process
    grown = ["step,train/loss,epoch,val/loss", "9,0.5,0,", "9,,,0.25", "10,0.125,,0.0"]
    assert lines(tmp_path / "metrics.csv") == grown


def test_resuming_drops_rows_and_columns_that_come_again(tmp_path: Path) -> None:
    logger = CSVLogger(str(tmp_path))
    for step in (8, 9, 10, 100):
        logger.log_metrics({"a": float(step), "time/b": 1.0}, step=step)
    logger.log_metrics({"val/a": 0.1}, step=10)
    resumed = CSVLogger(str(tmp_path))
    resumed.drop_from(10)
    assert lines(tmp_path / "metrics.csv") == ["step,a", "8,8.0", "9,9.0"]
    assert lines(tmp_path / "timing.csv") == ["step,time/b", "8,1.0", "9,1.0"]
    resumed.drop_from(0)
    assert not (tmp_path / "metrics.csv").exists()
    resumed.log_metrics({"new": 1.0}, step=0)
    assert lines(tmp_path / "metrics.csv") == ["step,new", "0,1.0"]


def test_row_that_finds_no_room_is_left_out_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    callbacks.logging._warnings.clear()
    logger = CSVLogger(str(tmp_path))
    logger.log_metrics({"loss": 0.5}, step=1)

    def half(*_: Any) -> None:
        with (tmp_path / "metrics.csv").open("a") as file:
            file.write("2,0.")
        full_disk()

    with monkeypatch.context() as patch:
        patch.setattr("twofold.csv_logger.csv.DictWriter.writerow", half)
        with pytest.warns(UserWarning, match=r"a row of metrics\.csv or timing\.csv can't be written"):
            logger.log_metrics({"loss": 0.25}, step=2)
        logger.log_metrics({"loss": 0.25}, step=3)
    with monkeypatch.context() as patch:
        patch.setattr("twofold.csv_logger.write_rows", full_disk)
        logger.log_metrics({"loss": 0.25, "accuracy": 0.5}, step=4)
    logger.log_metrics({"loss": 0.125, "accuracy": 0.75}, step=5)
    assert lines(tmp_path / "metrics.csv") == ["step,loss,accuracy", "1,0.5,", "5,0.125,0.75"]


@pytest.mark.usefixtures("without_account")
class TestWandb:
    """The logger on a machine where nobody has used W&B."""

    @pytest.fixture
    def logger(self, tmp_path: Path) -> TwofoldWandbLogger:
        return TwofoldWandbLogger(save_dir=str(tmp_path), id="one-run")

    @staticmethod
    def recorded(logger: TwofoldWandbLogger, folder: Path) -> WandbFile:
        """What there is once the run has ended."""
        logger.finalize("success")
        wandb.teardown()  # waits for the file
        [path] = folder.glob("wandb/offline-run-*-one-run/run-one-run.wandb")
        return read_wandb(path)

    def test_without_a_key_it_records_offline_and_never_asks(
        self, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("it asked"))
        monkeypatch.setattr("getpass.getpass", lambda *_: pytest.fail("it asked"))
        logger = TwofoldWandbLogger(save_dir=str(tmp_path), id="one-run", tags=["mine", "gan"])
        logger.add_tags(["gan", "x" * 100])
        rows = [(0, {"a": 1.0}), (4, {"a": 2.0}), (3, {"b": 3.0}), (4, {"b": 4.0}), (5, {"c": 5.0}), (4, {"c": 6.0})]
        for step, row in rows:  # late rows, and several of one batch
            logger.log_metrics(row, step)
        run = self.recorded(logger, tmp_path)
        assert (run.points("a"), run.points("b")) == ([(0, 1.0), (4, 2.0)], [(3, 3.0), (4, 4.0)])
        assert run.points("c") == [(5, 5.0), (4, 6.0)]
        assert run.tags == ["mine", "gan", "x" * 64]
        assert capfd.readouterr() == ("", "")

    @pytest.mark.parametrize("variables", [True, False])
    @pytest.mark.parametrize("config", [{"project": "mine", "tags": ["of-config"]}, {}])
    def test_variables_rule_what_the_config_leaves_open(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: bool, config: dict[str, Any]
    ) -> None:
        given = {"PROJECT": "theirs", "NAME": "a name", "TAGS": "one,two", "NOTES": "why", "RUN_ID": "x", "DIR": "y"}
        for name, value in given.items() if variables else ():
            monkeypatch.setenv(f"WANDB_{name}", value)
        logger = TwofoldWandbLogger(save_dir=str(tmp_path), id="one-run", **config)
        logger.add_tags(["gan"])
        run = self.recorded(logger, tmp_path)
        assert run.project == config.get("project", "theirs" if variables else "twofold")
        assert (run.name, run.id) == ("a name" if variables else "one-run", "one-run")
        assert run.tags == [*config.get("tags", ["one", "two"] if variables else []), "gan"]

    def test_summary_is_that_of_the_resumed_run(self, tmp_path: Path, logger: TwofoldWandbLogger) -> None:
        before = CSVLogger(str(tmp_path))
        for step, (fid, accuracy) in enumerate([(9.0, 0.5), (8.0, 0.9), (5.0, 0.9), (7.0, 0.8)]):
            before.log_metrics({"quality/fid": fid, "val/accuracy": accuracy, "train/loss": 4.0 - step}, step)
        before.log_metrics({"only/once": 1.0, "quality/fid": math.nan}, 1)
        logger.log_again(before.rows())
        logger.log_metrics({"quality/fid": 8.0, "val/accuracy": 0.1, "time/ms_per_batch": 4.0}, 4)
        logger.log_metrics({"time/ms_per_batch": 6.0}, 5)
        run = self.recorded(logger, tmp_path)
        assert run.points("val/accuracy") == [(0, 0.5), (1, 0.9), (2, 0.9), (3, 0.8), (4, 0.1)]
        assert run.summary["quality/fid"] == {"min": 5.0, "last": 8.0}
        assert run.summary["val/accuracy"] == {"max": 0.9, "last": 0.1}
        assert run.summary["time/ms_per_batch"] == {"mean": 5.0, "last": 6.0}
        assert (run.summary["train/loss"], run.summary["only/once"]) == (1.0, 1.0)

    @pytest.mark.parametrize(("mode", "warned"), [("disabled", []), ("sideways", ["nothing is recorded"])])
    def test_disabled_or_with_unreadable_settings_it_records_nothing(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        recwarn: pytest.WarningsRecorder,
        mode: str,
        warned: list[str],
    ) -> None:
        monkeypatch.setenv("WANDB_MODE", mode)
        (tmp_path / "a.pth").write_text("weights")
        logger = TwofoldWandbLogger(save_dir=str(tmp_path), id="one-run", log_model=mode == "disabled")
        logger.log_metrics({"a": 1.0}, step=0)
        logger.log_hyperparams({"b": 1})
        logger.log_image("images", [np.zeros((2, 2))], step=1)
        logger.add_tags(["gan"])
        logger.log_again([{"step": 1.0, "a": 2.0}])
        logger.log_table("some", ["a"], [[1]])
        logger.keep_model(tmp_path / "a.pth")
        assert logger.version == "one-run"
        logger.finalize("success")
        assert [str(warning.message).rpartition("; ")[2] for warning in recwarn] == warned
        assert not (tmp_path / "wandb").exists()

    @pytest.mark.parametrize(("key", "words"), [("c0ffee", "must have 40"), ("c0ffee42" * 5 + " ", "whitespace")])
    def test_malformed_key_is_one_warning_and_offline(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], key: str, words: str
    ) -> None:
        monkeypatch.setenv("WANDB_API_KEY", key)
        logger = TwofoldWandbLogger(save_dir=str(tmp_path), id="one-run", log_model=True)
        with pytest.warns(UserWarning, match=words) as caught:
            logger.log_metrics({"a": 1.0}, step=0)
        [warning] = caught
        assert key not in str(warning.message)
        assert str(warning.message).endswith(f"wandb sync {tmp_path}/wandb/offline-*")
        assert self.recorded(logger, tmp_path).points("a") == [(0, 1.0)]
        assert capfd.readouterr() == ("", "")

    def test_death_of_its_process_is_one_warning(
        self, logger: TwofoldWandbLogger, recwarn: pytest.WarningsRecorder
    ) -> None:
        logger.log_metrics({"a": 1.0}, step=0)
        process = wandb.setup().ensure_service()._proc._process  # type: ignore[union-attr]
        process.kill()
        process.wait()
        for step in range(1, 100):
            logger.log_metrics({"a": 1.0}, step=step)
        logger.finalize("failed")
        [warning] = recwarn
        assert str(warning.message).startswith("W&B: ")
        assert wandb.run is None

    def test_waits_are_short(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for log_model, seconds in ((False, 10), (True, 600)):
            settings = TwofoldWandbLogger(log_model=log_model)._wandb_init["settings"]
            assert (settings.init_timeout, settings.finish_timeout) == (10, seconds)
        monkeypatch.setenv("WANDB_INIT_TIMEOUT", "30")
        assert "init_timeout" not in TwofoldWandbLogger()._wandb_init["settings"].model_fields_set

    @pytest.mark.parametrize("log_model", [True, False])
    def test_models_are_artifacts_if_asked(self, tmp_path: Path, log_model: bool) -> None:
        for name, content in {"a.pth": "weights", "a.json": '{"step": 3}', "best.ckpt": "state"}.items():
            (tmp_path / name).write_text(content)
        logger = TwofoldWandbLogger(save_dir=str(tmp_path), id="one-run", log_model=log_model)
        logger.keep_model(tmp_path / "a.pth")
        logger.keep_model(tmp_path / "best.ckpt")
        logger.log_metrics({"a": 1.0}, 0)
        run = self.recorded(logger, tmp_path)
        kept = {name: {file: copy.read_text() for file, copy in files.items()} for name, files in run.artifacts.items()}
        both = {"a-one-run": {"a.pth": "weights", "a.json": '{"step": 3}'}, "best-one-run": {"best.ckpt": "state"}}
        assert kept == (both if log_model else {})
        assert not log_model or run.metadata["a-one-run"] == {"step": 3}
        assert "WANDB_DATA_DIR" not in os.environ
