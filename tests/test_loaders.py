"""Batches of any loader: with labels, without them, or one line that says what a batch is."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from small_modules import small_gan
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from callbacks import ImageGrid, InterpolationStrip, PredictionFiles
from lightning_modules import DigitClassifier, PalindromeLSTM, SequenceModel

pytestmark = pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have", "ignore:Couldn.t infer the batch")

MakeTrainer = Callable[..., Trainer]
IMAGES = torch.linspace(-1, 1, 6 * 784).view(6, 1, 28, 28)
LABELS = torch.arange(6)


def loader(items: Any, batch_size: int | None = None) -> DataLoader[Any]:
    """A loader of these items, which are batches unless there is a batch size."""
    return DataLoader(items, batch_size=batch_size)


LOADERS = {
    "labelled": loader(TensorDataset(IMAGES, LABELS), 2),
    "one tensor": loader(TensorDataset(IMAGES), 2),
    "bare": loader(IMAGES, 2),
    "dictionaries": loader([{"label": label, "image": image} for label, image in zip(LABELS, IMAGES, strict=True)], 2),
    "one-hot first": loader(TensorDataset(nn.functional.one_hot(LABELS), IMAGES), 2),
    "with names": loader([(image, number, "name") for number, image in enumerate(IMAGES)], 2),
}


@pytest.mark.parametrize("name", LOADERS)
@pytest.mark.usefixtures("run_seed")
def test_gan_needs_no_labels(plain_trainer: MakeTrainer, tmp_path: Path, name: str) -> None:
    results = []
    for batches in (LOADERS["labelled"], LOADERS[name]):
        trainer = plain_trainer(callbacks=[ImageGrid(2), InterpolationStrip(), PredictionFiles()])
        trainer.fit(gan := small_gan(r1=1.0, ema_decay=0.9), batches, batches)
        tested = trainer.test(gan, batches, verbose=False)
        trainer.predict(gan, batches)
        assert len([*(tmp_path / "samples").iterdir()]) == 6
        results.append((trainer.callback_metrics, tested))
    assert results[0] == results[1]


@pytest.mark.parametrize("name", LOADERS)
@pytest.mark.filterwarnings("ignore:You defined a `validation_step`")
def test_classifier_needs_labels_except_to_predict(plain_trainer: MakeTrainer, name: str) -> None:
    module, trainer = DigitClassifier(nn.Sequential(nn.Flatten(), nn.Linear(784, 10))), plain_trainer()
    predicted: Any = trainer.predict(module, LOADERS[name])
    assert [*predicted[0]] == ["label"] * (name == "labelled") + ["prediction", "confidence"]
    if name != "labelled":
        words = "the targets are torch.float32" if name == "one-hot first" else r"a batch is two tensors, .* this is a "
        with pytest.raises(ValueError, match=words):
            trainer.fit(module, LOADERS[name])


def one_hot(classes: torch.Tensor) -> torch.Tensor:
    return nn.functional.one_hot(classes, 10)


def classifier() -> DigitClassifier:
    return DigitClassifier(nn.Sequential(nn.Flatten(), nn.Linear(784, 10)))


DIGITS = torch.arange(30).view(6, 5) % 10


@pytest.mark.parametrize(
    ("module", "batch", "words"),
    [
        (classifier, (IMAGES, one_hot(LABELS).float()), r"targets are torch.float32 of shape \(6, 10\); write classes"),
        (classifier, (IMAGES, one_hot(LABELS)), r"targets are torch.int64 of shape \(6, 10\)"),
        (classifier, (IMAGES, LABELS[:, None]), r"of shape \(6, 1\)"),
        (classifier, (IMAGES, LABELS.float()), r"targets are torch.float32 of shape \(6,\)"),
        (classifier, (IMAGES, LABELS.int()), "targets are torch.int32"),
        (classifier, (IMAGES, LABELS > 3), "targets are torch.bool"),
        (lambda: PalindromeLSTM(4), (DIGITS, one_hot(LABELS).float()), "targets are torch.float32"),
        (lambda: PalindromeLSTM(4), (DIGITS, one_hot(LABELS)), r"\(6, 10\); write \(6,\) for the last digit"),
        (lambda: PalindromeLSTM(4), (DIGITS, LABELS[:, None]), r"\(6, 1\); write \(6,\)"),
        (lambda: PalindromeLSTM(4, target="second_half"), (DIGITS, one_hot(DIGITS)), r"\(6, 5, 10\); write classes"),
        (lambda: PalindromeLSTM(4, target="second_half"), (DIGITS, one_hot(LABELS)), "at most as many columns"),
        (lambda: SequenceModel(nn.LSTM(10, 4)), (DIGITS, DIGITS.float()), "targets are torch.float32"),
    ],
)
@pytest.mark.parametrize("run", ["fit", "validate"])
@pytest.mark.filterwarnings("ignore:You defined a `validation_step`")
def test_targets_that_are_no_classes_get_one_line(
    plain_trainer: MakeTrainer, run: str, module: Callable[[], LightningModule], batch: Any, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        getattr(plain_trainer(), run)(module(), loader([batch]))


@pytest.mark.parametrize(
    ("module", "batch", "words"),
    [
        (small_gan, IMAGES.byte(), "images of floats, .* this has torch.uint8"),
        (small_gan, {"path": ["a.png"]}, "this has dict"),
        (small_gan, ((IMAGES, LABELS),), "this has list"),
        (lambda: PalindromeLSTM(4), torch.zeros(2, 4).long(), "this is a Tensor"),
        (lambda: PalindromeLSTM(4), [torch.zeros(2, 4).long()], "this is a list of 1"),
    ],
)
def test_other_batches_get_one_line(
    plain_trainer: MakeTrainer, module: Callable[[], LightningModule], batch: Any, words: str
) -> None:
    for run in ("validate", "predict"):
        with pytest.raises(ValueError, match=words):
            getattr(plain_trainer(), run)(module(), loader([batch]))
