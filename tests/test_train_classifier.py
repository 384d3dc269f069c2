"""Shipping a classifier: its weights and the numbers in its card, from a finished run."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from datamodules import MNISTDataModule
from lightning_modules import DigitClassifier
from metrics import features
from metrics.features import load_classifier
from networks.classifiers import DigitCNN, DigitReader
from scripts import train_classifier
from scripts.train_classifier import BEGIN, END, confusion, main
from twofold.run_folder import RunFolder


@pytest.fixture
def mnist(digits: MNISTDataModule) -> MNISTDataModule:
    digits.setup()
    return digits


def test_a_run_becomes_weights_and_a_card(
    mnist: MNISTDataModule, save_checkpoint: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, network = "digit_classifier", DigitCNN()
    save_checkpoint(DigitClassifier(network), tmp_path / "run" / "checkpoints" / "best.ckpt")
    run = RunFolder(tmp_path / "run")
    run.note(id="run", state="finished", step=9)

    weights, card = train_classifier.write(run, config, mnist, tmp_path / "out")
    counts = confusion(network.eval(), mnist)
    right = int(counts.diagonal().sum())
    text = card.read_text()
    numbers = text.partition(BEGIN)[2].partition(END)[0]
    assert f"`configs/{config}.yaml` trained for 9 batches; the checkpoint after 0 was the best on the 500" in numbers
    assert f"Test accuracy: **{right / 1000:.2%}**; {1000 - right} of 1,000 images are misclassified." in numbers
    shipped = (features.FOLDER / card.name).read_text()
    assert text.partition(BEGIN)[0] == shipped.partition(BEGIN)[0]
    assert text.partition(END)[2] == shipped.partition(END)[2]

    monkeypatch.setattr(features, "FOLDER", tmp_path / "out")
    images = torch.rand(3, 1, 28, 28)
    torch.testing.assert_close(load_classifier(weights.stem)(images), network.eval()(images))


def test_confusion_has_labels_in_rows_and_predictions_in_columns(mnist: MNISTDataModule) -> None:
    class OneMore(DigitReader):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return nn.functional.one_hot((next(labels) + 1).clamp(max=9), 10).float()

    labels = iter([labels for _, labels in mnist.test_dataloader()])
    expected = torch.diag(torch.full((9,), 100), 1)
    expected[9, 9] = 100
    counts = confusion(OneMore(2), mnist)
    assert torch.equal(counts, expected)


def test_mistakes_get_one_line(refuses: Callable[..., None], no_download: None) -> None:
    refuses(main, [("gan", "invalid choice: 'gan'"), ("digit_reader --root nowhere", "MNIST")])
