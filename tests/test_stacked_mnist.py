"""Stacked MNIST: its batches and labels, the count of modes, the callback, the benchmark."""

import json
import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from pictures import write_pictures
from row_logger import RowLogger
from torch import Tensor, nn

from benchmarks import gan
from callbacks import StackedModes
from callbacks.interpolation_strip import GENERATOR_FILE
from common.seeding import rng
from datamodules import ImageFolderDataModule, MNISTDataModule, StackedMNISTDataModule
from lightning_modules import GAN
from metrics.features import load_classifier, save_classifier, scaled
from metrics.stacked_modes import evaluate_modes, mode_numbers, modes_of, real_modes
from networks.classifiers import DigitCNN
from networks.generator_files import save_generator
from networks.mlp_gan import MLPDiscriminator, MLPGenerator
from scripts.train_runs import Job
from twofold.tables import read_rows

MakeTrainer = Callable[..., Trainer]
pytestmark = pytest.mark.usefixtures("run_seed")


@pytest.fixture
def stacks() -> StackedMNISTDataModule:
    data = StackedMNISTDataModule(source="packaged", batch_size=8)
    data.setup()
    return data


def digits_in(data: StackedMNISTDataModule, split: str) -> dict[bytes, int]:
    """The labels of a split's digits, by their pixels."""
    rows = getattr(data.splits, split)
    images, labels = data.splits.images[rows, :1], data.splits.labels[rows]
    return {image.numpy().tobytes(): int(label) for image, label in zip(scaled(images), labels, strict=True)}


def test_each_channel_is_a_digit_of_its_split_and_labels_say_which(stacks: StackedMNISTDataModule) -> None:
    loaders: dict[str, Any] = {
        "train": stacks.train_dataloader(),
        "validation": stacks.val_dataloader(),
        "test": stacks.test_dataloader(),
    }
    for split, loader in loaders.items():
        known = digits_in(stacks, split)
        images, labels = next(iter(loader))
        assert images.shape == (8, 3, 28, 28)
        for image, label in zip(images, labels, strict=True):
            shown = [known[channel.contiguous().numpy().tobytes()] for channel in image.unsqueeze(1)]
            assert 100 * shown[0] + 10 * shown[1] + shown[2] == label


def test_each_epoch_has_every_digit_once_in_each_channel(stacks: StackedMNISTDataModule) -> None:
    stacks.batch_size = 500
    loader = stacks.train_dataloader()
    first, second = torch.cat([b.images for b in loader]), torch.cat([b.images for b in loader])
    for epoch in (first, second):
        assert all(len(epoch[:, channel].flatten(1).unique(dim=0)) == 3500 for channel in range(3))
    assert not torch.equal(first, second)
    assert not torch.equal(first[:, 0], first[:, 1])


def test_stacks_may_be_larger_but_need_three_channels() -> None:
    data = StackedMNISTDataModule(source="packaged", batch_size=8, image_shape=(3, 32, 32))
    data.setup()
    assert next(iter(data.train_dataloader())).images.shape == (8, 3, 32, 32)
    with pytest.raises(ValueError, match="a stack has 3 channels"):
        StackedMNISTDataModule(image_shape=(1, 28, 28))


def test_modes_of_real_stacks_are_their_labels(stacks: StackedMNISTDataModule) -> None:
    stacks.batch_size = 400
    images, labels = next(iter(stacks.test_dataloader()))
    right = (modes_of(load_classifier(), images) == labels).double().mean()
    assert right > 0.97


def test_kl_of_known_histograms() -> None:
    assert mode_numbers(torch.arange(1000)) == {"modes_covered": 1000, "kl": pytest.approx(0, abs=1e-12)}
    assert mode_numbers(torch.zeros(50, dtype=torch.long)) == {"modes_covered": 1, "kl": pytest.approx(math.log(1000))}
    half = mode_numbers(torch.arange(500))
    assert half == {"modes_covered": 500, "kl": pytest.approx(math.log(2))}


def test_kl_of_perfect_stacks_is_that_of_a_simulation(stacks: StackedMNISTDataModule) -> None:
    uniform = torch.randint(1000, (26_000,), generator=rng(0, "simulation"))
    assert mode_numbers(uniform)["kl"] == pytest.approx(999 / 52_000, rel=0.1)
    real = real_modes(load_classifier(), stacks.splits, "test", 26_000)
    assert real["modes_covered_real"] == 1000
    assert 0.018 < real["kl_real"] < 0.03


class RealDigits(nn.Module):
    """Returns stacks of real digits for any noise, with its first channel always the same."""

    latent_dim = 3

    def __init__(self, images: Tensor, same: bool) -> None:
        super().__init__()
        self.images, self.same = images, same

    def forward(self, noise: Tensor) -> Tensor:
        rows = (noise * 1e4).long().abs() % len(self.images)
        rows[:, 0] *= not self.same
        return self.images[rows, 0]


def test_a_generator_without_a_mode_is_seen(stacks: StackedMNISTDataModule) -> None:
    images = scaled(stacks.splits.images[:, :1])
    classifier = load_classifier()
    all_modes, some = (
        evaluate_modes(RealDigits(images, same), classifier, samples=2500, seed=1) for same in (False, True)
    )
    assert all_modes["modes_covered"] > 800
    assert some["modes_covered"] <= 110
    assert some["kl"] > all_modes["kl"] + 2


def make_gan(shape: tuple[int, ...] = (3, 28, 28)) -> GAN:
    torch.manual_seed(0)
    adam = partial(torch.optim.Adam, lr=1e-3)
    generator = MLPGenerator(latent_dim=5, widths=[16, 32], image_shape=shape)
    return GAN(generator, MLPDiscriminator([16], image_shape=shape), adam, adam, ema_decay=0.9)


def test_modes_are_logged_in_training_at_its_end_and_in_test(
    plain_trainer: MakeTrainer, stacks: StackedMNISTDataModule, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module, logger = make_gan(), RowLogger()
    trainer = plain_trainer(4, logger=logger, callbacks=[StackedModes(2, samples=40)], limit_val_batches=0)
    trainer.fit(module, datamodule=stacks)
    during = {"quality/modes_covered", "quality/kl", "quality/modes_covered_real", "quality/kl_real"}
    assert [step for step, row in logger.rows if during <= row.keys()] == [1, 3]
    content = json.loads((tmp_path / "quality.json").read_text())
    assert (content["samples"], content["reference"]) == (40, "validation")
    for weights in ("raw", "ema"):
        assert 1 <= content[weights]["modes_covered"] <= 40
        assert any(row.get(f"final/{weights}/kl") == content[weights]["kl"] for _, row in logger.rows)
    assert f"{content['ema']['modes_covered']:.0f} modes covered" in capsys.readouterr().out
    (tested,) = trainer.test(module, datamodule=stacks, verbose=False)
    assert tested["test/ema/modes_covered"] == content["ema"]["modes_covered"]
    assert tested["test/ema/kl_real"] != content["ema"]["kl_real"]


def test_training_is_not_changed_by_counting(plain_trainer: MakeTrainer, stacks: StackedMNISTDataModule) -> None:
    counted, alone = make_gan(), make_gan()
    plain_trainer(3, callbacks=[StackedModes(1, samples=20)], limit_val_batches=0).fit(counted, datamodule=stacks)
    plain_trainer(3, limit_val_batches=0).fit(alone, datamodule=stacks)
    assert all(torch.equal(weights, alone.state_dict()[name]) for name, weights in counted.state_dict().items())


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28)])
def test_images_that_the_classifier_cannot_read_are_refused(
    shape: tuple[int, ...], plain_trainer: MakeTrainer, tmp_path: Path
) -> None:
    data = StackedMNISTDataModule(source="packaged", batch_size=8, image_shape=(3, *shape[1:]))
    with pytest.raises(ValueError, match=r"reads images of the shape \(3, 28, 28\)"):
        plain_trainer(1, callbacks=[StackedModes()]).fit(make_gan(shape), datamodule=data)
    assert not [*tmp_path.iterdir()]


def test_another_classifier_reads_larger_stacks(plain_trainer: MakeTrainer, tmp_path: Path) -> None:
    classifier = DigitCNN(image_shape=(1, 32, 32))
    save_classifier(classifier.eval(), tmp_path / "large.safetensors")
    data = StackedMNISTDataModule(source="packaged", batch_size=8, image_shape=(3, 32, 32))
    counting = StackedModes(samples=20, classifier=str(tmp_path / "large.safetensors"))
    plain_trainer(1, callbacks=[counting], limit_val_batches=0).fit(make_gan((3, 32, 32)), datamodule=data)
    assert json.loads((tmp_path / "quality.json").read_text())["classifier"] == counting.classifier


def test_classifier_of_other_classes_is_refused(tmp_path: Path) -> None:
    save_classifier(DigitCNN(classes=26).eval(), tmp_path / "letters.safetensors")
    with pytest.raises(ValueError, match="the classifier knows 26 classes, and the data have 10 classes"):
        StackedModes(classifier=str(tmp_path / "letters.safetensors"))


def test_data_without_digits_are_refused(plain_trainer: MakeTrainer, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="this run's data has no `splits`"):
        StackedModes().on_train_start(plain_trainer(), make_gan())
    pictures = ImageFolderDataModule(write_pictures(tmp_path / "flat", (), 30, (28, 28)), batch_size=8)
    for data in (MNISTDataModule(source="packaged", image_shape=(3, 28, 28)), pictures):
        with pytest.raises(
            ValueError, match="reads a digit of MNIST in each channel, which this run's data don't have"
        ):
            plain_trainer(1, callbacks=[StackedModes()]).fit(make_gan(), datamodule=data)


def test_benchmark_counts_by_both_classifiers_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[Job] = []

    def train(jobs: Sequence[Job], folder: Path) -> dict[str, SimpleNamespace]:
        trained.extend(jobs)
        for job in jobs:
            (tmp_path / job.name).mkdir()
            generator = make_gan().generator
            save_generator(
                generator, tmp_path / job.name / GENERATOR_FILE, weights="ema", step=5, data_source="packaged"
            )
        return {job.name: SimpleNamespace(path=tmp_path / job.name) for job in jobs}

    monkeypatch.setattr(gan, "train", train)
    arguments = ["--source", "packaged", "--batches", "5", "--seeds", "1", "2", "--samples", "30"]
    for _ in range(2):
        assert gan.main(["stacked", "--out", str(tmp_path / "out"), *arguments]) == 0
    assert len(trained) == 2
    rows = read_rows(tmp_path / "out" / "gan_stacked.csv")
    assert [(row["seed"], row["classifier"]) for row in rows] == [
        (seed, name) for seed in "12" for name in ("digit_cnn", "digit_reader")
    ]
    assert all(int(row["modes_covered"]) <= 30 and float(row["kl_real"]) > 0 for row in rows)
    assert (tmp_path / "out" / "gan_stacked.png").exists()
    assert gan.main(["stacked", "--out", str(tmp_path / "out"), *arguments[:-1], "31"]) == 2
