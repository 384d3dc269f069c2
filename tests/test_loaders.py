"""Batches of any loader: with labels, without them, or one line that says what a batch is."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from callbacks import ImageGrid, InterpolationStrip, PredictionFiles
from lightning_modules import GAN, DigitClassifier, PalindromeLSTM
from networks.mlp_gan import MLPDiscriminator, MLPGenerator

pytestmark = pytest.mark.filterwarnings(
    "ignore:The '.*_dataloader' does not have many workers",
    "ignore:Couldn.t infer the batch indices",
    "ignore:You defined a `validation_step`",
)

MakeTrainer = Callable[..., Trainer]
IMAGES = torch.linspace(-1, 1, 6 * 784).view(6, 1, 28, 28)
LABELS = torch.arange(6)


class Row(NamedTuple):
    label: Any
    image: Any


def loader(items: Any, batch_size: int | None = None) -> DataLoader[Any]:
    """A loader of these items, which are batches unless there is a batch size."""
    return DataLoader(items, batch_size=batch_size)


def rows(make: Callable[[Tensor, Tensor], Any]) -> DataLoader[Any]:
    """A loader of three batches of two."""
    return loader([make(image, label) for image, label in zip(IMAGES, LABELS, strict=True)], batch_size=2)


LOADERS: dict[str, Any] = {
    "labelled": loader(TensorDataset(IMAGES, LABELS), batch_size=2),
    "one tensor": loader(TensorDataset(IMAGES), batch_size=2),
    "bare": rows(lambda image, label: image),
    "dictionary": rows(lambda image, label: {"label": label, "image": image}),
    "named tuple": rows(lambda image, label: Row(nn.functional.one_hot(label, 6), image)),
    "with more": rows(lambda image, label: (image, label, str(label))),
    "no collation": loader([{"index": 0, "image": each} for each in IMAGES.split(2)]),
}


def make_gan() -> GAN:
    torch.manual_seed(0)
    return GAN(MLPGenerator(5, [8]), MLPDiscriminator([8]), r1=1.0, ema_decay=0.9)


@pytest.mark.parametrize("name", LOADERS)
def test_gan_needs_no_labels(
    plain_trainer: MakeTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("PL_GLOBAL_SEED", "3")
    results = []
    for loader in (LOADERS["labelled"], LOADERS[name]):
        trainer = plain_trainer(callbacks=[ImageGrid(2), InterpolationStrip(), PredictionFiles()])
        trainer.fit(gan := make_gan(), loader, loader)
        (tested,) = trainer.test(gan, loader, verbose=False)
        assert len(trainer.predict(gan, loader) or []) == 3
        assert len([*(tmp_path / "samples").iterdir()]) == 6
        results.append((gan.state_dict(), {**trainer.callback_metrics, **tested}))
    (weights, numbers), (others, same_numbers) = results
    assert all(torch.equal(weight, others[key]) for key, weight in weights.items())
    assert numbers == same_numbers


@pytest.mark.parametrize("name", LOADERS)
def test_classifier_needs_labels_except_to_predict(plain_trainer: MakeTrainer, name: str) -> None:
    module, trainer = DigitClassifier(nn.Sequential(nn.Flatten(), nn.Linear(784, 10))), plain_trainer()
    (predicted, *_) = trainer.predict(module, LOADERS[name]) or []
    assert [*predicted][-2:] == ["prediction", "confidence"]
    if name not in ("labelled", "named tuple"):  # this is a pair, too
        with pytest.raises(ValueError, match=r"a batch is two tensors, \(input, target\); this one is a "):
            trainer.fit(module, LOADERS[name])


@pytest.mark.parametrize(
    ("module", "batch", "words"),
    [
        (make_gan, IMAGES.byte(), "floating point numbers in [−1, 1], .* this one has torch.uint8"),
        (make_gan, {"path": ["a.png"]}, "this one has dict"),
        (make_gan, ((IMAGES, LABELS),), "this one has list"),
        (make_gan, ["a.png"], "this one has list"),
        (lambda: PalindromeLSTM(4), torch.zeros(2, 4).long(), "this one is a Tensor"),
        (lambda: PalindromeLSTM(4), [torch.zeros(2, 4).long()], "this one is a list of 1"),
    ],
)
def test_other_batches_get_one_line(
    plain_trainer: MakeTrainer, module: Callable[[], LightningModule], batch: Any, words: str
) -> None:
    for run in ("fit", "validate", "predict"):
        with pytest.raises(ValueError, match=words.replace("[", r"\[")) as error:
            getattr(plain_trainer(), run)(module(), loader([batch]))
        assert "\n" not in str(error.value)
