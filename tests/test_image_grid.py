"""Pictures of a generator that learns, drawn without a trace in its training."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.logger import Logger
from PIL import Image
from torch import Tensor

from callbacks import ImageGrid, InterpolationStrip
from callbacks.generators import unnoticed
from datamodules import MNISTDataModule
from lightning_modules import GAN, DigitClassifier
from networks.classifiers import DigitCNN
from networks.mlp_gan import MLPDiscriminator, MLPGenerator

MakeTrainer = Callable[..., Trainer]


class Bare(Logger):
    """A logger that can't show pictures."""

    name = version = "bare"

    def log_metrics(self, metrics: Any, step: int | None = None) -> None: ...

    def log_hyperparams(self, params: Any, *_: Any, **__: Any) -> None: ...


class WandbLike(Bare):
    def __init__(self) -> None:
        super().__init__()
        self.shown: list[tuple[str, list[str], int, list[str]]] = []

    def log_image(self, key: str, images: list[str], step: int, caption: list[str]) -> None:
        self.shown.append((key, images, step, caption))


class TensorBoardLike(Bare):
    def __init__(self) -> None:
        super().__init__()
        self.shown: list[tuple[str, np.ndarray, int]] = []
        self.experiment = self

    def add_image(self, tag: str, img_tensor: np.ndarray, global_step: int, dataformats: str) -> None:
        assert dataformats == "HWC"
        self.shown.append((tag, img_tensor, global_step))


def make_gan(**arguments: Any) -> GAN:
    return GAN(MLPGenerator(latent_dim=5), MLPDiscriminator(), **arguments)


@pytest.fixture(autouse=True)
def _seed_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PL_GLOBAL_SEED", "3")


def everything_random() -> list[Any]:
    return [torch.get_rng_state().tolist(), str(np.random.get_state()), random.getstate()]  # noqa: NPY002


def weights(module: GAN) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


class Around(Callback):
    """Compares, around the hooks of the callback it wraps, everything that must stay as it was."""

    def __init__(self, inner: Callback) -> None:
        self.inner = inner
        self.looked = 0

    def _compare(self, hook: str, trainer: Trainer, module: LightningModule, *arguments: Any) -> None:
        assert isinstance(module, GAN)
        module.generator.get_submodule("layers.2").eval()
        random.random(), np.random.rand(), torch.rand(1)  # noqa: NPY002
        before = weights(module), [part.training for part in module.modules()], everything_random()
        getattr(self.inner, hook)(trainer, module, *arguments)
        after = weights(module), [part.training for part in module.modules()], everything_random()
        assert all(torch.equal(value, after[0][name]) for name, value in before[0].items())
        assert before[1:] == after[1:]
        assert len(set(before[1])) == 2
        module.train()
        self.looked += 1

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._compare("on_train_start", trainer, pl_module)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *arguments: Any) -> None:
        self._compare("on_train_batch_end", trainer, pl_module, *arguments)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._compare("on_train_end", trainer, pl_module)


@pytest.mark.parametrize("ema_decay", [None, 0.9])
@pytest.mark.parametrize("inner", [lambda: ImageGrid(every_n_batches=1), InterpolationStrip])
def test_drawing_leaves_no_trace(
    plain_trainer: MakeTrainer,
    digits: MNISTDataModule,
    tmp_path: Path,
    inner: Callable[[], Callback],
    ema_decay: float | None,
) -> None:
    around = Around(inner())
    plain_trainer(max_steps=2, callbacks=[around]).fit(make_gan(ema_decay=ema_decay), datamodule=digits)
    assert around.looked == 4
    assert list(tmp_path.rglob("*.png"))


def test_modes_come_back_when_drawing_fails() -> None:
    network = MLPGenerator(latent_dim=5)
    network.layers[2].eval()
    before = [part.training for part in network.modules()]
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"), unnoticed(network):
        network(torch.zeros(2, 3))
    assert [part.training for part in network.modules()] == before


def test_a_generator_that_draws_numbers_of_its_own_leaves_the_streams_alone() -> None:
    network = MLPGenerator(latent_dim=5)
    before = everything_random()
    with unnoticed(network):
        _ = random.random(), np.random.rand(), torch.rand(1)  # noqa: NPY002
        assert everything_random() != before
    assert everything_random() == before


def test_training_gives_the_same_bits_with_and_without_pictures(
    plain_trainer: MakeTrainer, digits: MNISTDataModule
) -> None:
    results = []
    for callbacks in ([], [ImageGrid(every_n_batches=1), InterpolationStrip(steps=3)]):
        torch.manual_seed(1)
        gan = make_gan(ema_decay=0.9)
        plain_trainer(max_steps=4, callbacks=callbacks).fit(gan, datamodule=digits)
        results.append(weights(gan))
    without, with_pictures = results
    assert all(torch.equal(value, with_pictures[name]) for name, value in without.items())


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_a_picture_shows_the_averaged_generators_images_of_the_fixed_noise(
    plain_trainer: MakeTrainer, digits: MNISTDataModule, tmp_path: Path
) -> None:
    gan, grid = make_gan(ema_decay=0.9), ImageGrid(every_n_batches=4)
    plain_trainer(max_steps=4, callbacks=[grid]).fit(gan, datamodule=digits)
    assert gan.ema is not None
    assert grid.noise is not None
    assert grid.noise.shape == (64, 5)
    with torch.no_grad():
        images = gan.ema.module.eval()(grid.noise)
        others = gan.generator.eval()(grid.noise)
    picture = pixels(tmp_path / "images" / "step_000004.png")
    for place in (0, 9, 63):  # each image stands behind a margin of 2 pixels and is enlarged twofold
        top, left = 2 * (2 + 30 * (place // 8)), 2 * (2 + 30 * (place % 8))
        shown = picture[top : top + 56 : 2, left : left + 56 : 2, 0]
        np.testing.assert_allclose(shown, (images[place, 0] + 1) / 2 * 255, atol=0.51)
        assert np.abs(shown - (others[place, 0].numpy() + 1) / 2 * 255).max() > 2


def test_the_same_run_draws_the_same_bytes_also_when_it_is_resumed(
    plain_trainer: MakeTrainer, digits: MNISTDataModule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PL_GLOBAL_SEED")
    grid = ImageGrid(every_n_batches=2)
    trainer = plain_trainer(max_steps=2, callbacks=[grid], default_root_dir=tmp_path / "whole")
    trainer.fit(make_gan(), datamodule=digits)
    trainer.save_checkpoint(tmp_path / "two.ckpt")
    drawn = {}
    for name in ("one", "two"):
        again = ImageGrid(every_n_batches=2)
        trainer = plain_trainer(max_steps=4, callbacks=[again], default_root_dir=tmp_path / name)
        trainer.fit(make_gan(), datamodule=digits, ckpt_path=tmp_path / "two.ckpt", weights_only=True)
        assert grid.noise is not None
        assert again.noise is not None
        assert torch.equal(again.noise, grid.noise)
        assert [path.name for path in (tmp_path / name / "images").iterdir()] == ["step_000004.png"]
        drawn[name] = (tmp_path / name / "images" / "step_000004.png").read_bytes()
    assert drawn["one"] == drawn["two"]
    first = {path.name: path.read_bytes() for path in (tmp_path / "whole" / "images").iterdir()}
    assert len({*first.values(), drawn["one"]}) == 3


def test_every_logger_that_can_shows_the_pictures(
    plain_trainer: MakeTrainer, digits: MNISTDataModule, tmp_path: Path
) -> None:
    wandb, tensorboard = WandbLike(), TensorBoardLike()
    plain_trainer(
        max_steps=2,
        callbacks=[ImageGrid(every_n_batches=2), InterpolationStrip()],
        logger=[Bare(), CSVLogger(tmp_path), wandb, tensorboard],
    ).fit(make_gan(), datamodule=digits)
    images = tmp_path / "images"
    assert wandb.shown == [
        ("images", [str(images / "step_000000.png")], 0, ["after 0 batches of the packaged digits"]),
        ("images", [str(images / "step_000002.png")], 2, ["after 2 batches of the packaged digits"]),
        (
            "interpolation",
            [str(tmp_path / "interpolation.png")],
            2,
            ["a straight line, after 2 batches of the packaged digits"],
        ),
    ]
    assert [(tag, step) for tag, _, step in tensorboard.shown] == [("images", 0), ("images", 2), ("interpolation", 2)]
    np.testing.assert_array_equal(tensorboard.shown[1][1], pixels(images / "step_000002.png"))


def test_a_fast_dev_run_draws_nothing(plain_trainer: MakeTrainer, digits: MNISTDataModule, tmp_path: Path) -> None:
    callbacks = [ImageGrid(every_n_batches=1), InterpolationStrip()]
    plain_trainer(callbacks=callbacks, fast_dev_run=2).fit(make_gan(), datamodule=digits)
    assert list(tmp_path.iterdir()) == []


def test_half_precision_is_drawn_too(plain_trainer: MakeTrainer, digits: MNISTDataModule, tmp_path: Path) -> None:
    callbacks = [ImageGrid(every_n_batches=2), InterpolationStrip()]
    plain_trainer(max_steps=2, precision="bf16-true", callbacks=callbacks).fit(make_gan(), datamodule=digits)
    assert len(list(tmp_path.rglob("*.png"))) == 3


@pytest.mark.parametrize("drawing", [ImageGrid, InterpolationStrip])
def test_a_module_without_a_generator_is_refused_before_it_trains(
    plain_trainer: MakeTrainer, digits: MNISTDataModule, drawing: type[ImageGrid | InterpolationStrip]
) -> None:
    trainer = plain_trainer(max_steps=2, callbacks=[drawing()])
    with pytest.raises(ValueError, match="a DigitClassifier has no `generator` to draw pictures from"):
        trainer.fit(DigitClassifier(DigitCNN()), datamodule=digits)
    assert trainer.global_step == 0


def test_anybodys_module_is_drawn(plain_trainer: MakeTrainer, anybodys: type[LightningModule], tmp_path: Path) -> None:
    data = [torch.zeros(1)] * 4
    callbacks = [ImageGrid(every_n_batches=2), InterpolationStrip()]
    plain_trainer(max_steps=2, callbacks=callbacks).fit(anybodys(), data)
    assert sorted(path.name for path in tmp_path.rglob("*.*")) == [
        "interpolation.png",
        "mnist_generator.json",
        "mnist_generator.pth",
        "step_000000.png",
        "step_000002.png",
    ]


def test_the_noise_of_a_module_without_a_seed_is_kept_in_the_checkpoint(
    plain_trainer: MakeTrainer, anybodys: type[LightningModule], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PL_GLOBAL_SEED")
    data, grid, again = [torch.zeros(1)] * 4, ImageGrid(), ImageGrid()
    trainer = plain_trainer(max_steps=2, callbacks=[grid])
    trainer.fit(anybodys(), data)
    trainer.save_checkpoint(tmp_path / "two.ckpt")
    trainer = plain_trainer(max_steps=3, callbacks=[again])
    trainer.fit(anybodys(), data, ckpt_path=tmp_path / "two.ckpt", weights_only=True)
    assert grid.noise is not None
    assert again.noise is not None
    assert torch.equal(again.noise, grid.noise)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [({"every_n_batches": 0}, "every_n_batches is 0; write 1"), ({"also_at": [3, -2]}, "also_at holds -2; write")],
)
def test_bad_arguments_are_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ImageGrid(**arguments)
