"""What callbacks show goes to every logger that can take it."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import wandb
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger, WandbLogger
from lightning.pytorch.loggers.logger import Logger
from PIL import Image
from wandb_file import read_wandb

from callbacks.sample_table import SAMPLES, log_samples
from callbacks.to_loggers import log_numbers, log_table, shows_tables
from datamodules import MNISTDataModule
from lightning_modules import GAN
from metrics.features import load_classifier
from networks.mlp_gan import MLPDiscriminator, MLPGenerator

MakeTrainer = Callable[..., Trainer]


class Tables(Logger):
    name = version = "tables"

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[tuple[Any, ...]] = []

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        self.shown.append((step, metrics))

    def log_hyperparams(self, params: Any, *_: Any, **__: Any) -> None: ...

    def log_table(self, key: str, columns: list[str], data: list[list[Any]], step: int) -> None:
        self.shown.append((key, columns, data, step))


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    wandb.teardown()  # it remembers its settings
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    yield
    wandb.teardown()


def test_numbers_go_to_every_logger_at_the_step_they_belong_to(plain_trainer: MakeTrainer) -> None:
    loggers = [Tables(), Tables()]
    log_numbers(plain_trainer(logger=loggers), {"a": 1.0}, 7)
    assert loggers[0].shown == loggers[1].shown == [(7, {"a": 1.0})]


def test_a_table_goes_to_loggers_that_know_what_one_is(plain_trainer: MakeTrainer, tmp_path: Path) -> None:
    csv, tables = CSVLogger(tmp_path), Tables()
    assert not shows_tables(plain_trainer(logger=csv))
    assert not shows_tables(plain_trainer())
    trainer = plain_trainer(logger=[csv, tables])
    assert shows_tables(trainer)
    log_table(trainer, "some", ("picture", "digit"), [(Image.new("L", (4, 4)), 3)])
    [(key, columns, [[picture, digit]], step)] = tables.shown
    assert (key, columns, digit, step) == ("some", ["picture", "digit"], 3, 0)
    assert isinstance(picture, wandb.Image)


@pytest.mark.usefixtures("offline")
def test_lightnings_own_logger_takes_a_table_with_pictures(plain_trainer: MakeTrainer, tmp_path: Path) -> None:
    logger = WandbLogger(save_dir=tmp_path, id="one-run")
    log_table(plain_trainer(logger=logger), "some", ["picture", "digit"], [[Image.new("L", (4, 4)), 3]])
    logger.experiment.finish()
    wandb.teardown()
    [path] = tmp_path.glob("wandb/offline-run-*/*.wandb")
    run = read_wandb(path)
    [(step, table)] = run.points("some")
    assert (step, table["nrows"], table["ncols"]) == (0, 1, 2)


def test_samples_are_what_the_judge_sees(plain_trainer: MakeTrainer, digit_painter: MLPGenerator) -> None:
    gan = GAN(digit_painter, MLPDiscriminator())
    first, again, other = Tables(), Tables(), Tables()
    for tables, seed in ((first, 1), (again, 1), (other, 2)):
        log_samples(plain_trainer(logger=tables), gan, load_classifier(), seed)
    [(key, columns, rows, _)] = first.shown
    assert (key, columns, len(rows)) == ("samples", ["image", "digit", "confidence"], SAMPLES)
    readings = [(digit, confidence) for _, digit, confidence in rows]
    assert len({digit for digit, _ in readings}) > 7
    assert all(0.1 <= confidence <= 1 for _, confidence in readings)
    assert readings == [tuple(row[1:]) for row in again.shown[0][2]]
    assert readings != [tuple(row[1:]) for row in other.shown[0][2]]


def test_without_tables_nothing_is_drawn(plain_trainer: MakeTrainer, digits: MNISTDataModule) -> None:
    class Never(MLPGenerator):
        def forward(self, noise: Any) -> Any:
            pytest.fail("it drew")

    gan = GAN(MLPGenerator(latent_dim=5), MLPDiscriminator())
    gan.generator = Never(latent_dim=5)
    log_samples(plain_trainer(), gan, load_classifier(), 1)
