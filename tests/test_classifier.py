"""The classifier of digits: its logged values, and that it learns."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import Trainer

from datamodules import MNISTDataModule
from lightning_modules import DigitClassifier
from networks.classifiers import DigitCNN

MakeTrainer = Callable[..., Trainer]


@pytest.mark.parametrize("split", ["val", "test"])
def test_evaluation_covers_the_whole_split(plain_trainer: MakeTrainer, split: str) -> None:
    module = DigitClassifier(DigitCNN())
    data = MNISTDataModule(source="packaged", batch_size=300)  # 500 and 1,000 images: a short last batch
    trainer = plain_trainer()
    evaluate = trainer.validate if split == "val" else trainer.test
    (logged,) = evaluate(module, datamodule=data, verbose=False)
    loader = data.val_dataloader() if split == "val" else data.test_dataloader()
    images, labels = (torch.cat(parts) for parts in zip(*loader, strict=True))
    with torch.no_grad():
        logits = module.eval()(images)
    accuracy = float((logits.argmax(dim=1) == labels).float().mean())
    assert 0 < accuracy < 1
    assert logged == {
        f"{split}/loss": pytest.approx(float(F.cross_entropy(logits, labels)), rel=1e-5),
        f"{split}/accuracy": pytest.approx(accuracy),
    }


def test_it_learns_in_100_batches(plain_trainer: MakeTrainer) -> None:
    module = DigitClassifier(DigitCNN(), partial(torch.optim.Adam, lr=2e-3))
    data = MNISTDataModule(source="packaged", batch_size=32)
    trainer = plain_trainer(max_steps=100, limit_val_batches=0)
    trainer.fit(module, datamodule=data)
    (logged,) = trainer.test(module, datamodule=data, verbose=False)
    assert logged["test/accuracy"] > 0.9
