"""What can't be written is warned about once and doesn't stop a training."""

import errno
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from lightning.pytorch import Trainer

from callbacks import ImageGrid, InterpolationStrip
from callbacks.best_effort import BestEffort
from datamodules import MNISTDataModule
from lightning_modules import GAN
from networks.mlp_gan import MLPDiscriminator, MLPGenerator
from twofold.loggers import CSVLogger


def test_an_oserror_becomes_one_warning_and_ends_the_block() -> None:
    pictures = BestEffort("pictures")
    reached = []

    def try_it() -> None:
        for attempt in range(3):
            with pictures.attempt():
                reached.append(attempt)
                raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.warns(UserWarning, match="can't be written") as warned:
        try_it()
    assert reached == [0, 1, 2]
    assert [str(warning.message) for warning in warned] == [
        "pictures can't be written (No space left on device); training goes on without"
    ]


def test_other_errors_and_successes_pass() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with BestEffort("pictures").attempt():
            pass
        with pytest.raises(ValueError, match="else"), BestEffort("pictures").attempt():
            raise ValueError("something else")


def test_training_goes_on_without_pictures(
    plain_trainer: Callable[..., Trainer], digits: MNISTDataModule, tmp_path: Path
) -> None:
    (tmp_path / "images").write_text("a file where the folder should be")
    (tmp_path / "interpolation.png").mkdir()
    trainer = plain_trainer(max_steps=4, callbacks=[ImageGrid(every_n_batches=1), InterpolationStrip()])
    with pytest.warns(UserWarning, match="training goes on without") as warned:
        trainer.fit(GAN(MLPGenerator(5, (8,)), MLPDiscriminator((8,))), datamodule=digits)
    told = [str(one.message) for one in warned if "training goes on" in str(one.message)]
    assert told == [
        "images/ can't be written (File exists); training goes on without",
        "mnist_generator.pth or interpolation.png can't be written (Is a directory); training goes on without",
    ]
    assert trainer.global_step == 4
    assert not list(tmp_path.glob(".*.part"))


def test_a_row_that_finds_no_room_is_left_out_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logger = CSVLogger(str(tmp_path))
    logger.log_metrics({"loss": 0.5}, step=1)
    writer = "twofold.csv_logger.csv.DictWriter.writerow"

    def torn(self: object, row: object) -> None:
        with (tmp_path / "metrics.csv").open("a") as file:
            file.write("2,0.")
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(writer, torn)
        with pytest.warns(UserWarning, match=r"^metrics\.csv or timing\.csv can't be written"):
            logger.log_metrics({"loss": 0.25}, step=2)
        logger.log_metrics({"loss": 0.25}, step=3)
    logger.log_metrics({"loss": 0.125}, step=4)
    assert (tmp_path / "metrics.csv").read_text().splitlines() == ["step,loss", "1,0.5", "4,0.125"]


def test_columns_that_find_no_room_come_with_the_next_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logger = CSVLogger(str(tmp_path))
    logger.log_metrics({"loss": 0.5}, step=1)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("twofold.csv_logger.write_rows", full)
        with pytest.warns(UserWarning, match="can't be written"):
            logger.log_metrics({"loss": 0.25, "accuracy": 0.5}, step=2)
    logger.log_metrics({"loss": 0.125, "accuracy": 0.75}, step=3)
    assert (tmp_path / "metrics.csv").read_text().splitlines() == ["step,loss,accuracy", "1,0.5,", "3,0.125,0.75"]
