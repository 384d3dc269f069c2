"""The files that `predict` writes."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from anybodys import Anybodys
from lightning.pytorch import Trainer
from PIL import Image
from small_modules import small_gan

from callbacks import PredictionFiles
from datamodules import MNISTDataModule, PalindromeDataModule
from lightning_modules import DigitClassifier, PalindromeLSTM
from networks.classifiers import DigitCNN
from twofold.tables import read_rows

pytestmark = pytest.mark.filterwarnings("ignore:Couldn.t infer the batch indices")  # of our loaders

MakeTrainer = Callable[..., Trainer]


def test_palindromes_become_rows(plain_trainer: MakeTrainer, tmp_path: Path) -> None:
    module, data = PalindromeLSTM(4), PalindromeDataModule(length=5, batch_size=6)
    for _ in range(2):  # a second time the file is written anew
        plain_trainer(callbacks=[PredictionFiles()]).predict(module, datamodule=data)
    (batch,) = data.predict_dataloader()
    with torch.no_grad():
        answers = module.eval()(batch.digits).argmax(dim=1)
    assert read_rows(tmp_path / "predictions.csv") == [
        {"sequence": "".join(map(str, digits)), "answer": str(target), "prediction": str(answer)}
        for digits, target, answer in zip(batch.digits.tolist(), batch.target.tolist(), answers.tolist(), strict=True)
    ]
    assert all(row["sequence"][0] == row["answer"] for row in read_rows(tmp_path / "predictions.csv"))


def test_every_batch_appends_its_rows(plain_trainer: MakeTrainer, tmp_path: Path) -> None:
    module = DigitClassifier(DigitCNN())
    data = MNISTDataModule(source="packaged", batch_size=6, predict_size=10)
    plain_trainer(callbacks=[PredictionFiles()]).predict(module, datamodule=data)
    images, labels = (torch.cat(parts) for parts in zip(*data.predict_dataloader(), strict=True))
    with torch.no_grad():
        probabilities = module.eval()(images).softmax(dim=1)
    table = read_rows(tmp_path / "predictions.csv")
    assert [int(row["label"]) for row in table] == labels.tolist()
    assert [int(row["prediction"]) for row in table] == probabilities.argmax(dim=1).tolist()
    confidences = torch.tensor([float(row["confidence"]) for row in table])
    torch.testing.assert_close(confidences, probabilities.amax(dim=1))


def test_images_become_numbered_files(plain_trainer: MakeTrainer, tmp_path: Path) -> None:
    gan = small_gan()
    data = MNISTDataModule(source="packaged", batch_size=2, predict_size=3)
    batches = plain_trainer(callbacks=[PredictionFiles()]).predict(gan, datamodule=data)
    files = sorted((tmp_path / "samples").iterdir())
    assert [path.name for path in files] == ["000000.png", "000001.png", "000002.png"]
    for path, image in zip(files, torch.cat(batches), strict=True):  # type: ignore[arg-type]
        pixels = np.asarray(Image.open(path).convert("L"))
        np.testing.assert_allclose(pixels, (image[0] + 1) / 2 * 255, atol=1)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("prediction", "words"),
    [
        ([1, 2], "PredictionFiles writes a tensor of images or a dict of columns, not one list"),
        (torch.zeros(()), "a dict of columns, not one Tensor"),
        (torch.zeros(3, 10), r"1 or 3 channels, height, width\), not \(3, 10\)"),
        ({"a": torch.tensor([1, 2]), "b": torch.tensor([[0.5], [0.25]])}, None),
    ],
)
def test_any_modules_predictions_become_rows_or_one_line(
    plain_trainer: MakeTrainer, tmp_path: Path, prediction: Any, words: str | None
) -> None:
    module: Any = Anybodys()
    data = MNISTDataModule(source="packaged", predict_size=1)
    module.predict_step = lambda batch, batch_idx: prediction
    with pytest.raises(ValueError, match=words) if words else nullcontext():
        plain_trainer(callbacks=[PredictionFiles()]).predict(module, datamodule=data)
        assert read_rows(tmp_path / "predictions.csv") == [{"a": "1", "b": "[0.5]"}, {"a": "2", "b": "[0.25]"}]
