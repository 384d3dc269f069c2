"""Grids of a generator's images during training, which they don't change."""

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

import callbacks.logging
from callbacks import ImageGrid, InterpolationStrip
from callbacks.generators import fixed_noise, inference_state
from datamodules import MNISTDataModule
from lightning_modules import GAN, DigitClassifier
from networks.classifiers import DigitCNN
from networks.mlp_gan import MLPDiscriminator, MLPGenerator

MakeTrainer = Callable[..., Trainer]


class NumbersOnly(Logger):
    """A logger that can't show pictures."""

    name = version = "numbers"

    def log_metrics(self, metrics: Any, step: int | None = None) -> None: ...

    def log_hyperparams(self, params: Any, *_: Any, **__: Any) -> None: ...


class WandbLike(NumbersOnly):
    def __init__(self) -> None:
        super().__init__()
        self.shown: list[tuple[str, list[str], int, list[str]]] = []

    def log_image(self, key: str, images: list[str], step: int, caption: list[str]) -> None:
        self.shown.append((key, images, step, caption))


class TensorBoardLike(NumbersOnly):
    def __init__(self) -> None:
        super().__init__()
        self.shown: list[tuple[str, np.ndarray, int]] = []
        self.experiment = self

    def add_image(self, tag: str, img_tensor: np.ndarray, global_step: int, dataformats: str) -> None:
        assert dataformats == "HWC"
        self.shown.append((tag, img_tensor, global_step))


def make_gan(**arguments: Any) -> GAN:
    return GAN(MLPGenerator(latent_dim=5, widths=[8, 8]), MLPDiscriminator(widths=[8]), **arguments)


@pytest.fixture(autouse=True)
def _seed_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PL_GLOBAL_SEED", "3")


def random_states() -> list[Any]:
    return [torch.get_rng_state().tolist(), str(np.random.get_state()), random.getstate()]  # noqa: NPY002


def weights(module: LightningModule) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


class Compare(Callback):
    """Compares weights, modes and random states before and after the hooks of the callback that it wraps."""

    def __init__(self, inner: Callback) -> None:
        self.inner = inner
        self.compared = 0

    def _compare(self, hook: str, trainer: Trainer, module: LightningModule, *arguments: Any) -> None:
        module.get_submodule("generator.layers.2").eval()
        random.random(), np.random.rand(), torch.rand(1)  # noqa: NPY002
        before = weights(module), [part.training for part in module.modules()], random_states()
        getattr(self.inner, hook)(trainer, module, *arguments)
        after = weights(module), [part.training for part in module.modules()], random_states()
        assert all(torch.equal(value, after[0][name]) for name, value in before[0].items())
        assert before[1:] == after[1:]
        assert len(set(before[1])) == 2
        module.train()
        self.compared += 1

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._compare("on_train_start", trainer, pl_module)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *arguments: Any) -> None:
        self._compare("on_train_batch_end", trainer, pl_module, *arguments)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._compare("on_train_end", trainer, pl_module)


@pytest.mark.parametrize("ema_decay", [None, 0.9])
@pytest.mark.parametrize("inner", [lambda: ImageGrid(every_n_batches=1), InterpolationStrip])
def test_pictures_do_not_change_training(
    plain_trainer: MakeTrainer,
    digits: MNISTDataModule,
    tmp_path: Path,
    inner: Callable[[], Callback],
    ema_decay: float | None,
) -> None:
    results = []
    for compare in (None, Compare(inner())):
        torch.manual_seed(1)
        gan = make_gan(ema_decay=ema_decay)
        plain_trainer(max_steps=2, callbacks=compare).fit(gan, datamodule=digits)
        results.append(weights(gan))
    assert compare is not None
    assert compare.compared == 4
    assert list(tmp_path.rglob("*.png"))
    assert all(torch.equal(value, results[1][name]) for name, value in results[0].items())


def test_inference_state_restores_modes_and_random_states() -> None:
    network = MLPGenerator(latent_dim=5)
    network.layers[2].eval()
    before = [part.training for part in network.modules()], random_states()
    with inference_state(network):
        _ = random.random(), np.random.rand(), torch.rand(1)  # noqa: NPY002
        assert random_states() != before[1]
    assert ([part.training for part in network.modules()], random_states()) == before
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"), inference_state(network):
        network(torch.zeros(2, 3))
    assert [part.training for part in network.modules()] == before[0]


def test_fixed_noise_depends_on_seed_and_purpose(monkeypatch: pytest.MonkeyPatch) -> None:
    gan = make_gan()
    gan.seed = 3
    noise = fixed_noise(gan, 4, "grid")
    torch.manual_seed(99)
    assert torch.equal(fixed_noise(gan, 4, "grid"), noise)
    assert not torch.equal(fixed_noise(gan, 4, "strip"), noise)
    gan.seed = None
    assert torch.equal(fixed_noise(gan, 4, "grid"), noise)
    monkeypatch.setenv("PL_GLOBAL_SEED", "4")
    assert not torch.equal(fixed_noise(gan, 4, "grid"), noise)


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_grid_shows_the_averaged_generator(plain_trainer: MakeTrainer, digits: MNISTDataModule, tmp_path: Path) -> None:
    gan, grid = make_gan(ema_decay=0.9), ImageGrid(every_n_batches=100, also_at=[3, 4])
    plain_trainer(max_steps=5, callbacks=[grid]).fit(gan, datamodule=digits)
    steps = [f"step_{step:06d}.png" for step in (0, 3, 4)]
    assert sorted(path.name for path in (tmp_path / "images").iterdir()) == steps
    assert gan.ema is not None
    assert grid.noise is not None
    assert grid.noise.shape == (64, 5)
    with torch.no_grad():
        images = gan.ema.module.eval()(grid.noise)
        others = gan.generator.eval()(grid.noise)
    grid._write_grid(gan.trainer, gan)
    picture = pixels(tmp_path / "images" / f"step_{gan.trainer.global_step:06d}.png")
    for place in (0, 9, 63):  # each image has a margin of 2 pixels and is enlarged twice
        top, left = 2 * (2 + 30 * (place // 8)), 2 * (2 + 30 * (place % 8))
        shown = picture[top : top + 56 : 2, left : left + 56 : 2, 0]
        np.testing.assert_allclose(shown, (images[place, 0] + 1) / 2 * 255, atol=0.51)
        assert np.abs(shown - (others[place, 0].numpy() + 1) / 2 * 255).max() > 1


def test_resumed_run_writes_the_same_bytes(
    plain_trainer: MakeTrainer, digits: MNISTDataModule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PL_GLOBAL_SEED")
    grid = ImageGrid(every_n_batches=2)
    trainer = plain_trainer(max_steps=2, callbacks=[grid], default_root_dir=tmp_path / "whole")
    trainer.fit(make_gan(), datamodule=digits)
    trainer.save_checkpoint(tmp_path / "two.ckpt")
    written = {}
    for name in ("one", "two"):
        again = ImageGrid(every_n_batches=2)
        trainer = plain_trainer(max_steps=4, callbacks=[again], default_root_dir=tmp_path / name)
        trainer.fit(make_gan(), datamodule=digits, ckpt_path=tmp_path / "two.ckpt", weights_only=True)
        assert [path.name for path in (tmp_path / name / "images").iterdir()] == ["step_000004.png"]
        written[name] = (tmp_path / name / "images" / "step_000004.png").read_bytes()
    assert written["one"] == written["two"]


def test_loggers_that_can_show_the_pictures(
    plain_trainer: MakeTrainer, digits: MNISTDataModule, tmp_path: Path
) -> None:
    wandb, tensorboard = WandbLike(), TensorBoardLike()
    plain_trainer(
        max_steps=2,
        callbacks=[ImageGrid(every_n_batches=2), InterpolationStrip()],
        logger=[NumbersOnly(), CSVLogger(tmp_path), wandb, tensorboard],
    ).fit(make_gan(), datamodule=digits)
    images, after = tmp_path / "images", "after 2 batches of the packaged digits"
    assert wandb.shown == [
        ("images", [str(images / "step_000000.png")], 0, ["after 0 batches of the packaged digits"]),
        ("images", [str(images / "step_000002.png")], 2, [after]),
        ("interpolation", [str(tmp_path / "interpolation.png")], 2, [f"lerp, {after}"]),
    ]
    assert [(tag, step) for tag, _, step in tensorboard.shown] == [("images", 0), ("images", 2), ("interpolation", 2)]
    np.testing.assert_array_equal(tensorboard.shown[1][1], pixels(images / "step_000002.png"))


def test_fast_dev_run_writes_nothing(plain_trainer: MakeTrainer, digits: MNISTDataModule, tmp_path: Path) -> None:
    callbacks = [ImageGrid(every_n_batches=1), InterpolationStrip()]
    plain_trainer(callbacks=callbacks, fast_dev_run=2).fit(make_gan(), datamodule=digits)
    assert list(tmp_path.iterdir()) == []


def test_half_precision_is_shown(plain_trainer: MakeTrainer, digits: MNISTDataModule, tmp_path: Path) -> None:
    callbacks = [ImageGrid(every_n_batches=2), InterpolationStrip()]
    plain_trainer(max_steps=2, precision="bf16-true", callbacks=callbacks).fit(make_gan(), datamodule=digits)
    assert len(list(tmp_path.rglob("*.png"))) == 3


def test_unwritable_pictures_are_one_warning_each(
    plain_trainer: MakeTrainer, digits: MNISTDataModule, tmp_path: Path
) -> None:
    callbacks.logging._warnings.clear()
    (tmp_path / "images").write_text("a file where the folder should be")
    (tmp_path / "interpolation.png").mkdir()
    trainer = plain_trainer(max_steps=3, callbacks=[ImageGrid(every_n_batches=1), InterpolationStrip()])
    with pytest.warns(UserWarning, match="training continues without") as caught:
        trainer.fit(make_gan(), datamodule=digits)
    messages = [str(one.message) for one in caught if "continues without" in str(one.message)]
    assert messages == [
        "images/ can't be written (File exists); training continues without it",
        "mnist_generator.pth or interpolation.png can't be written (Is a directory); training continues without it",
    ]
    assert trainer.global_step == 3
    assert not list(tmp_path.glob(".*.part"))


@pytest.mark.parametrize("callback", [ImageGrid, InterpolationStrip])
def test_module_without_generator_is_refused_first(
    plain_trainer: MakeTrainer, digits: MNISTDataModule, callback: type[ImageGrid | InterpolationStrip]
) -> None:
    trainer = plain_trainer(max_steps=2, callbacks=[callback()])
    with pytest.raises(ValueError, match="a DigitClassifier has no `generator` to sample from"):
        trainer.fit(DigitClassifier(DigitCNN()), datamodule=digits)
    assert trainer.global_step == 0


def test_any_module_with_a_generator_works(
    plain_trainer: MakeTrainer, anybodys: type[LightningModule], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PL_GLOBAL_SEED")
    data, grid, again = [torch.zeros(1)] * 4, ImageGrid(every_n_batches=2), ImageGrid()
    trainer = plain_trainer(max_steps=2, callbacks=[grid, InterpolationStrip()])
    trainer.fit(anybodys(), data)
    assert sorted(path.name for path in tmp_path.rglob("*.*")) == [
        "interpolation.png",
        "mnist_generator.json",
        "mnist_generator.pth",
        "step_000000.png",
        "step_000002.png",
    ]
    trainer.save_checkpoint(tmp_path / "two.ckpt")
    trainer = plain_trainer(max_steps=3, callbacks=[again])
    trainer.fit(anybodys(), data, ckpt_path=tmp_path / "two.ckpt", weights_only=True)
    assert grid.noise is not None
    assert again.noise is not None
    assert torch.equal(again.noise, grid.noise)  # though the module has no seed


@pytest.mark.parametrize(
    ("arguments", "words"),
    [({"every_n_batches": 0}, "every_n_batches is 0; write 1"), ({"also_at": [3, -2]}, "also_at holds -2; write")],
)
def test_bad_arguments_are_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ImageGrid(**arguments)
