"""The callbacks with Weights & Biases, CSV files, TensorBoard and no logger: what each holds."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import wandb
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.loggers.logger import Logger
from PIL import Image
from row_logger import columns
from small_modules import small_gan
from tensorboardX.proto.event_pb2 import Event
from wandb_file import read_wandb

from callbacks import GenerativeMetrics, ImageGrid, InterpolationStrip, Timer
from datamodules import MNISTDataModule
from twofold.loggers import CSVLogger, TwofoldWandbLogger

MakeTrainer = Callable[..., Trainer]
Series = dict[str, list[int]]
"""By name, the steps at which there is a value."""

EVERY_SECOND = ("train/d_loss", "train/g_loss", "train/d_gradient_norm", "time/ms_per_batch", "quality/fid")
PICTURES = {"images": [0, 2, 4], "interpolation": [4]}


pytestmark = pytest.mark.usefixtures("without_account")


def left_by_wandb(folder: Path) -> Series:
    wandb.teardown()  # waits for the file
    [path] = folder.glob("wandb/offline-run-*/*.wandb")
    run = read_wandb(path)
    keys = {key for row in run.rows for key in row if not key.startswith(("_", "trainer/"))}
    assert all((run.folder / name).is_file() for _, image in run.points("images") for name in image["filenames"])
    return {key: [step for step, _ in run.points(key)] for key in keys}


def left_by_csv(folder: Path) -> Series:
    tables = columns(folder / "metrics.csv") | columns(folder / "timing.csv")
    return {key: [step for step, _ in points] for key, points in tables.items()}


def left_by_tensorboard(folder: Path) -> Series:
    """A file holds records: a length, its checksum, so many bytes and their checksum."""
    found: Series = {}
    for path in folder.rglob("events.out.tfevents.*"):
        content = path.read_bytes()
        while content:
            length = int.from_bytes(content[:8], "little")
            event = Event.FromString(content[12 : 12 + length])
            for value in event.summary.value:
                if value.HasField("image"):
                    pixels = np.asarray(Image.open(BytesIO(value.image.encoded_image_string)))
                    assert pixels.shape[:2] == (value.image.height, value.image.width)
                found.setdefault(value.tag, []).append(event.step)
            content = content[16 + length :]
    return found


@pytest.mark.filterwarnings("ignore:modes lost:UserWarning")
@pytest.mark.parametrize(
    ("logger_class", "left", "shown"),
    [
        (TwofoldWandbLogger, left_by_wandb, {**PICTURES, "samples": [4]}),
        (CSVLogger, left_by_csv, {}),
        (TensorBoardLogger, left_by_tensorboard, PICTURES),
        (None, None, {}),
    ],
)
def test_gan_with_every_logger(
    plain_trainer: MakeTrainer,
    digits: MNISTDataModule,
    tmp_path: Path,
    logger_class: Callable[..., Logger] | None,
    left: Callable[[Path], Series],
    shown: Series,
) -> None:
    watching: list[Callback] = [
        ImageGrid(every_n_batches=2),
        GenerativeMetrics(every_n_batches=2, samples=40, final_samples=40),
        InterpolationStrip(steps=3),
        Timer(),
    ]
    logger = logger_class(save_dir=str(tmp_path)) if logger_class else False
    trainer = plain_trainer(max_steps=4, callbacks=watching, logger=logger, log_every_n_steps=2)
    trainer.fit(small_gan(), datamodule=digits)
    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*")}
    pictures = {f"images/step_{step:06d}.png" for step in (0, 2, 4)}
    assert pictures | {"interpolation.png", "mnist_generator.pth", "best_generator.pth", "quality.json"} <= files
    if logger_class is not None:
        found = left(tmp_path)
        assert {key: found[key] for key in EVERY_SECOND} == {key: [1, 3] for key in EVERY_SECOND}
        assert found["final/raw/fid"] == [4]
        assert {key: found[key] for key in ("images", "interpolation", "samples") if key in found} == shown
