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
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.loggers.logger import Logger
from PIL import Image
from wandb_file import read_wandb

from callbacks import GenerativeMetrics, ImageGrid, InterpolationStrip, Timer
from datamodules import MNISTDataModule
from lightning_modules import GAN
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


@pytest.mark.filterwarnings("ignore:digits lost:UserWarning")
@pytest.mark.parametrize(
    ("logger_class", "left", "shown"),
    [
        (TwofoldWandbLogger, left_by_wandb, {**PICTURES, "samples": [4]}),
        (CSVLogger, left_by_csv, {}),
        pytest.param(TensorBoardLogger, left_by_tensorboard, PICTURES, marks=needs_tensorboard),
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
    trainer.fit(GAN(MLPGenerator(latent_dim=5, widths=[8]), MLPDiscriminator(widths=[8])), datamodule=digits)
    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*")}
    pictures = {f"images/step_{step:06d}.png" for step in (0, 2, 4)}
    assert pictures | {"interpolation.png", "mnist_generator.pth", "best_generator.pth", "quality.json"} <= files
    if logger_class is not None:
        found = left(tmp_path)
        assert {key: found[key] for key in EVERY_SECOND} == {key: [1, 3] for key in EVERY_SECOND}
        assert found["final/raw/fid"] == [4]
        assert {key: found[key] for key in ("images", "interpolation", "samples") if key in found} == shown
