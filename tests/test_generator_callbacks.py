"""What the callbacks for generators have in common: any module, no change of training, files that can't be written."""

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

import callbacks.generative_metrics
import callbacks.logging
from callbacks import GenerativeMetrics, ImageGrid, InterpolationStrip
from callbacks.generators import fixed_noise
from datamodules import MNISTDataModule
from lightning_modules import GAN, DigitClassifier
from networks.classifiers import DigitCNN, DigitReader
from networks.mlp_gan import MLPDiscriminator, MLPGenerator

pytestmark = pytest.mark.filterwarnings("ignore:digits lost")

MakeTrainer = Callable[..., Trainer]

CALLBACKS: dict[str, Callable[[], Callback]] = {
    "grid": lambda: ImageGrid(every_n_batches=1),
    "metrics": lambda: GenerativeMetrics(every_n_batches=1, samples=40, final_samples=40),
    "strip": lambda: InterpolationStrip(steps=3),
}
EACH = pytest.mark.parametrize("name", CALLBACKS)


@pytest.fixture(autouse=True)
def _tiny_classifier_and_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PL_GLOBAL_SEED", "3")
    tiny = DigitReader(hidden_size=4).eval()
    monkeypatch.setattr(callbacks.generative_metrics, "load_classifier", lambda name: tiny)


def make_gan(ema_decay: float | None = None) -> GAN:
    torch.manual_seed(1)
    return GAN(MLPGenerator(latent_dim=5, widths=[8]), MLPDiscriminator(widths=[8]), ema_decay=ema_decay)


@EACH
@pytest.mark.parametrize("ema_decay", [None, 0.9])
@pytest.mark.usefixtures("unchecked")  # beartype draws by `random` which item of a list it checks
def test_training_is_not_changed(
    plain_trainer: MakeTrainer, digits: MNISTDataModule, name: str, ema_decay: float | None
) -> None:
    results = []
    for watching in ([], [CALLBACKS[name]()]):
        gan = make_gan(ema_decay)
        random.seed(1), np.random.seed(1)  # noqa: NPY002
        plain_trainer(max_steps=3, callbacks=watching).fit(gan, datamodule=digits)
        streams = torch.rand(1).item(), np.random.rand(), random.random()  # noqa: NPY002
        results.append((gan.state_dict(), [part.training for part in gan.modules()], streams))
    (weights, *without), (same_weights, *watched) = results
    assert all(torch.equal(value, same_weights[name]) for name, value in weights.items())
    assert without == watched


@EACH
def test_fast_dev_run_writes_nothing(
    plain_trainer: MakeTrainer, digits: MNISTDataModule, tmp_path: Path, name: str
) -> None:
    plain_trainer(callbacks=[CALLBACKS[name]()], fast_dev_run=2).fit(make_gan(), datamodule=digits)
    assert list(tmp_path.iterdir()) == []


@EACH
def test_module_without_generator_is_refused_first(
    plain_trainer: MakeTrainer, digits: MNISTDataModule, name: str
) -> None:
    trainer = plain_trainer(max_steps=2, callbacks=[CALLBACKS[name]()])
    with pytest.raises(ValueError, match="a DigitClassifier has no `generator` to sample from"):
        trainer.fit(DigitClassifier(DigitCNN()), datamodule=digits)
    assert trainer.global_step == 0


def test_half_precision_is_shown_and_evaluated(
    plain_trainer: MakeTrainer, digits: MNISTDataModule, tmp_path: Path
) -> None:
    watching = [make() for make in CALLBACKS.values()]
    plain_trainer(max_steps=2, precision="bf16-true", callbacks=watching).fit(make_gan(), datamodule=digits)
    assert len(list(tmp_path.rglob("*.png"))) == 4
    assert '"fid": null' not in (tmp_path / "quality.json").read_text()


def test_unwritable_files_are_one_warning_each(
    plain_trainer: MakeTrainer, digits: MNISTDataModule, tmp_path: Path
) -> None:
    callbacks.logging._warnings.clear()
    (tmp_path / "images").write_text("a file where the folder should be")
    for name in ("best_generator.pth", "quality.json", "interpolation.png"):
        (tmp_path / name).mkdir()
    trainer = plain_trainer(max_steps=3, callbacks=[make() for make in CALLBACKS.values()])
    with pytest.warns(UserWarning, match="training continues without") as caught:
        trainer.fit(make_gan(), datamodule=digits)
    messages = [str(one.message) for one in caught if "continues without" in str(one.message)]
    assert messages == [
        "images/ can't be written (File exists); training continues without it",
        "best_generator.pth can't be written (Is a directory); training continues without it",
        "quality.json can't be written (Is a directory); training continues without it",
        "mnist_generator.pth or interpolation.png can't be written (Is a directory); training continues without it",
    ]
    assert trainer.global_step == 3
    assert not list(tmp_path.glob(".*.part"))


def test_any_module_with_a_generator_works(
    plain_trainer: MakeTrainer, anybodys: type[LightningModule], tmp_path: Path
) -> None:
    watching = [ImageGrid(every_n_batches=2), InterpolationStrip()]
    plain_trainer(max_steps=2, callbacks=watching).fit(anybodys(), [torch.zeros(1)] * 4)
    pictures = [
        "interpolation.png",
        "mnist_generator.json",
        "mnist_generator.pth",
        "step_000000.png",
        "step_000002.png",
    ]
    assert sorted(path.name for path in tmp_path.rglob("*.*")) == pictures


def test_fixed_noise_depends_on_seed_and_purpose(monkeypatch: pytest.MonkeyPatch) -> None:
    gan = make_gan()
    gan.seed = 3
    noise = fixed_noise(gan, 4, "grid")
    torch.manual_seed(99)
    assert torch.equal(fixed_noise(gan, 4, "grid"), noise)
    assert not torch.equal(fixed_noise(gan, 4, "strip"), noise)
    gan.seed = None
    monkeypatch.setenv("PL_GLOBAL_SEED", "3")
    assert torch.equal(fixed_noise(gan, 4, "grid"), noise)
    monkeypatch.setenv("PL_GLOBAL_SEED", "4")
    assert not torch.equal(fixed_noise(gan, 4, "grid"), noise)
