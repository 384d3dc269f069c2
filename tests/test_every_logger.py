"""The callbacks with Weights & Biases, CSV files, TensorBoard and no logger: what each holds."""

from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import wandb
import yaml
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.loggers.logger import Logger
from PIL import Image
from wandb_file import read_wandb

from callbacks import GenerativeMetrics, ImageGrid, InterpolationStrip, LengthCurriculum, StopWhenSolved, Timer
from datamodules import MNISTDataModule, PalindromeDataModule
from lightning_modules import GAN, PalindromeLSTM
from networks.mlp_gan import MLPDiscriminator, MLPGenerator
from twofold.loggers import CSVLogger, TwofoldWandbLogger
from twofold.tables import read_rows

MakeTrainer = Callable[..., Trainer]
Series = dict[str, list[int]]
"""By name, the steps at which there is a value."""

WRITER = next((name for name in ("tensorboard", "tensorboardX") if find_spec(name)), None)
needs_tensorboard = pytest.mark.skipif(WRITER is None, reason="pip install tensorboard, or tensorboardX")

EVERY_SECOND = ("train/d_loss", "train/g_loss", "train/d_gradient_norm", "time/ms_per_batch", "quality/fid")
PICTURES = {"images": [0, 2, 4], "interpolation": [4]}


pytestmark = pytest.mark.usefixtures("without_account")


def wandb_run(folder: Path) -> Logger:
    return TwofoldWandbLogger(save_dir=str(folder))


def csv_files(folder: Path) -> Logger:
    return CSVLogger(str(folder))


def tensorboard(folder: Path) -> Logger:
    return TensorBoardLogger(folder)


def left_by_wandb(folder: Path) -> Series:
    wandb.teardown()  # waits for the file
    [path] = folder.glob("wandb/offline-run-*/*.wandb")
    run = read_wandb(path)
    keys = {key for row in run.rows for key in row if not key.startswith(("_", "trainer/"))}
    assert all((run.folder / name).is_file() for _, image in run.points("images") for name in image["filenames"])
    return {key: [step for step, _ in run.points(key)] for key in keys}


def left_by_csv(folder: Path) -> Series:
    found: Series = {}
    logger = CSVLogger(str(folder))
    for table in (logger._metrics, logger._timing):
        for row in read_rows(table.path):
            for key in row.keys() - {"step"}:
                if row[key]:
                    found.setdefault(key, []).append(int(row["step"]))
    return found


def left_by_tensorboard(folder: Path) -> Series:
    found: Series = {}
    for event in tensorboard_events(folder):
        for value in event.summary.value:
            if value.HasField("image"):
                pixels = np.asarray(Image.open(BytesIO(value.image.encoded_image_string)))
                assert pixels.shape[:2] == (value.image.height, value.image.width)
            found.setdefault(value.tag, []).append(event.step)
    return found


def tensorboard_events(folder: Path) -> Iterator[Any]:
    """Of each file of records: a length, its checksum, so many bytes and theirs."""
    where = {"tensorboard": "tensorboard.compat.proto.event_pb2", "tensorboardX": "tensorboardX.proto.event_pb2"}
    messages = import_module(where[str(WRITER)])
    for path in sorted(folder.rglob("events.out.tfevents.*")):
        content, at = path.read_bytes(), 0
        while at < len(content):
            length = int.from_bytes(content[at : at + 8], "little")
            yield messages.Event.FromString(content[at + 12 : at + 12 + length])
            at += 16 + length


LOGGERS = [
    pytest.param(wandb_run, left_by_wandb, {**PICTURES, "samples": [4]}, id="wandb"),
    pytest.param(csv_files, left_by_csv, {}, id="csv"),
    pytest.param(tensorboard, left_by_tensorboard, PICTURES, id="tensorboard", marks=needs_tensorboard),
    pytest.param(None, None, {}, id="none"),
]
ALL_LOGGERS = pytest.mark.parametrize(("make_logger", "left", "shown"), LOGGERS)


@pytest.mark.filterwarnings("ignore:digits lost:UserWarning")
@ALL_LOGGERS
def test_gan_with_every_logger(
    plain_trainer: MakeTrainer,
    digits: MNISTDataModule,
    tmp_path: Path,
    make_logger: Callable[[Path], Logger] | None,
    left: Callable[[Path], Series],
    shown: Series,
) -> None:
    watching: list[Callback] = [
        ImageGrid(every_n_batches=2),
        GenerativeMetrics(every_n_batches=2, samples=40, final_samples=40),
        InterpolationStrip(steps=3),
        Timer(),
    ]
    logger = make_logger(tmp_path) if make_logger else False
    trainer = plain_trainer(max_steps=4, callbacks=watching, logger=logger, log_every_n_steps=2)
    trainer.fit(GAN(MLPGenerator(latent_dim=5, widths=[8]), MLPDiscriminator(widths=[8])), datamodule=digits)
    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*")}
    pictures = {f"images/step_{step:06d}.png" for step in (0, 2, 4)}
    assert pictures | {"interpolation.png", "mnist_generator.pth", "best_generator.pth", "quality.json"} <= files
    if make_logger is not None:
        found = left(tmp_path)
        assert {key: found[key] for key in EVERY_SECOND} == {key: [1, 3] for key in EVERY_SECOND}
        assert found["final/raw/fid"] == [4]
        assert {key: found[key] for key in ("images", "interpolation", "samples") if key in found} == shown


@ALL_LOGGERS
def test_curriculum_with_every_logger(
    plain_trainer: MakeTrainer,
    tmp_path: Path,
    make_logger: Callable[[Path], Logger] | None,
    left: Callable[[Path], Series],
    shown: Series,
) -> None:
    class Perfect(PalindromeLSTM):
        def training_step(self, batch: Any, batch_idx: int) -> dict[str, Any]:
            outcome = super().training_step(batch, batch_idx)
            return {**outcome, "accuracy": outcome["accuracy"] * 0 + 1}

    watching: list[Callback] = [LengthCurriculum(3, factor=2.0, perfect_batches=2), StopWhenSolved(2), Timer()]
    logger = make_logger(tmp_path) if make_logger else False
    trainer = plain_trainer(max_steps=9, callbacks=watching, logger=logger, log_every_n_steps=1)
    data = PalindromeDataModule(length=6, batch_size=4, batches_per_epoch=3, validation_batches=1)
    trainer.fit(Perfect(hidden_size=4), datamodule=data)
    assert trainer.global_step == 4
    if make_logger is not None:
        found = left(tmp_path)
        assert found["train/length"] == found["train/loss"] == found["time/ms_per_batch"] == [0, 1, 2, 3]
        assert found["final/batches_until_solved"] == [4]
        assert found["val/accuracy"] == [2, 3]


@needs_tensorboard
def test_tensorboard_in_a_config(twofold: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    config = tmp_path / "gan.yaml"
    networks = {
        "generator": {"class_path": "networks.mlp_gan.MLPGenerator", "init_args": {"latent_dim": 5, "widths": [8]}},
        "discriminator": {"class_path": "networks.mlp_gan.MLPDiscriminator", "init_args": {"widths": [8]}},
    }
    logger = {"class_path": "lightning.pytorch.loggers.TensorBoardLogger", "init_args": {"save_dir": "board"}}
    pictures = {"class_path": "callbacks.ImageGrid", "init_args": {"every_n_batches": 2}}
    experiment = {
        "experiment": "small_gan",
        "model": {"class_path": "lightning_modules.GAN", "init_args": networks},
        "data": {"class_path": "datamodules.MNISTDataModule", "init_args": {"batch_size": 8, "source": "packaged"}},
        "trainer": {"max_steps": 4, "log_every_n_steps": 2, "callbacks": [pictures], "logger": logger},
    }
    config.write_text(yaml.safe_dump(experiment))
    code, said, complained = twofold("fit -c", config)
    assert (code, complained) == (0, "")
    found = left_by_tensorboard(tmp_path / "board")
    assert found["train/g_loss"] == [1, 3]
    assert found["images"] == [0, 2, 4]
    folder = Path(said.splitlines()[-1].removeprefix("results in "))
    assert not (folder / "metrics.csv").exists()
    [hparams] = (tmp_path / "board").rglob("hparams.yaml")
    assert "parameters" in yaml.safe_load(hparams.read_text())
