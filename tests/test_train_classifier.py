"""Shipping a classifier: both files from a finished run, and what is no such run is refused in words."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from lightning.pytorch import Trainer
from torch import nn

from datamodules import MNISTDataModule
from datamodules.mnist import packaged_digits
from lightning_modules import DigitClassifier
from metrics import features as classifiers
from metrics.features import Classifier, load_classifier
from networks import registry
from networks.classifiers import DigitCNN, DigitReader
from scripts.train_classifier import confusion, main
from twofold.provenance import CONFIGS

MakeTrainer = Callable[..., Trainer]
Ship = Callable[..., tuple[int, str, str]]
NETWORKS: dict[str, type[Classifier]] = {"digit_classifier": DigitCNN, "digit_reader": DigitReader}


@pytest.fixture(autouse=True)
def _packaged_digits_as_mnist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datamodules.mnist.datamodule.has_mnist", lambda root: True)
    monkeypatch.setattr("datamodules.mnist.datamodule.read_mnist", lambda root: packaged_digits())


@pytest.fixture
def make_run(plain_trainer: MakeTrainer, digits: MNISTDataModule, tmp_path: Path) -> Callable[..., Path]:
    """The folder of what looks like a finished run on MNIST; it trained for one batch."""

    def make(experiment: str, network: nn.Module, **facts: Any) -> Path:
        folder = tmp_path / "runs" / experiment / "20300101-000000-abcd"
        trainer = plain_trainer(max_steps=1, limit_val_batches=0)
        trainer.fit(DigitClassifier(network), datamodule=digits)
        trainer.save_checkpoint(folder / "checkpoints" / "best.ckpt")
        config = yaml.safe_load((CONFIGS / f"{experiment}.yaml").read_text())
        config["data"]["init_args"]["root"] = "elsewhere"
        (folder / "config.yaml").write_text(yaml.safe_dump({**config, "seed_everything": 1}))
        note = {"id": folder.name, "state": "finished", "step": 9, "threads": 1, "data_source": "torchvision", **facts}
        (folder / "run.json").write_text(json.dumps(note))
        return folder

    return make


@pytest.fixture
def finished(make_run: Callable[..., Path]) -> Path:
    return make_run("digit_reader", DigitReader(4))


@pytest.fixture
def ship(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Ship:
    """`ship(folder)` in this process: exit code, stdout, stderr; files go to `tmp_path/classifiers`."""
    monkeypatch.delenv("TWOFOLD_DEBUG", raising=False)

    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([*map(str, arguments), "--out", str(tmp_path / "classifiers")])
        return code, *capsys.readouterr()

    return run


def refused(ship: Ship, folder: Path, tmp_path: Path) -> str:
    """What it complains; it must leave nothing."""
    code, out, err = ship(folder)
    assert (code, out) == (2, "")
    assert not (tmp_path / "classifiers").exists()
    return err


@pytest.mark.parametrize("experiment", NETWORKS)
def test_a_run_becomes_a_judge_and_its_card(
    experiment: str, make_run: Callable[..., Path], ship: Ship, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = NETWORKS[experiment]()
    folder, output = make_run(experiment, network), tmp_path / "classifiers"
    code, out, err = ship(folder)
    assert (code, err) == (0, "")
    name = "digit_cnn" if experiment == "digit_classifier" else "digit_reader"
    weights, card, summary = out.splitlines()
    assert [weights, card] == [str(output / f"{name}.safetensors"), str(output / f"{name}.md")]
    assert {path.name for path in output.iterdir()} == {f"{name}.safetensors", f"{name}.md"}

    monkeypatch.setattr(classifiers, "FOLDER", output)
    classifier, images = load_classifier(name), torch.rand(3, 1, 28, 28)
    assert torch.equal(classifier(images), network.eval()(images))

    mnist = MNISTDataModule(source="torchvision", batch_size=50)
    mnist.setup()
    right = sum(int((classifier(images).argmax(dim=1) == labels).sum()) for images, labels in mnist.test_dataloader())
    assert summary == f"{right / 1000:.2%} of 1,000 test images read right"
    text = Path(card).read_text()
    assert f"{1000 - right} of MNIST's 1,000 test images are misread: **{right / 1000:.2%} right**" in text
    assert f"twofold fit -c configs/{experiment}.yaml --data.source torchvision\n" in text
    assert f"python -m scripts.train_classifier runs/{experiment}/<run id>\n" in text
    assert "after 1 it read the 500 best" in text
    assert f"`networks.{name}.{type(network).__name__}`" in text
    assert "has seen the packaged digits" in text
    assert "License: MIT" in text
    assert max(map(len, text.splitlines())) <= 120
    assert ship(folder)[0] == 0, "a second time, over the first"


def test_the_table_of_errors_is_a_count_by_class(ship: Ship, finished: Path, tmp_path: Path) -> None:
    """A classifier who reads nothing but sevens."""
    path = finished / "checkpoints" / "best.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["state_dict"]["network.head.1.weight"].zero_()
    checkpoint["state_dict"]["network.head.1.bias"].copy_(torch.arange(10) == 7)
    torch.save(checkpoint, path)
    assert ship(finished)[1].endswith("10.00% of 1,000 test images read right\n")
    rows = [
        line for line in (tmp_path / "classifiers" / "digit_reader.md").read_text().splitlines() if line[:3] == "| 7"
    ]
    assert rows == ["| 7 | 100 | 0 |  |"]
    assert "| 3 | 100 | 100 | 7 (100) |" in (tmp_path / "classifiers" / "digit_reader.md").read_text()


def test_confusion_has_the_truth_in_rows_and_the_answers_in_columns(digits: MNISTDataModule) -> None:
    class SaysOneMore(DigitReader):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            labels = next(answers)
            return nn.functional.one_hot((labels + 1).clamp(max=9), 10).float()

    digits.setup()
    answers = iter([labels for _, labels in digits.test_dataloader()])
    expected = torch.diag(torch.full((9,), 100), 1)
    expected[9, 9] = 100
    assert torch.equal(confusion(SaysOneMore(2), digits), expected)


def test_what_is_no_run_is_refused(ship: Ship, tmp_path: Path) -> None:
    assert "is not a run's folder; write runs/digit_classifier/…" in refused(ship, tmp_path / "nowhere", tmp_path)


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (
            {"data_source": "packaged"},
            "was trained on the packaged digits; a classifier that ships learns from MNIST itself",
        ),
        ({"state": "failed"}, "is failed; let it finish first"),
        ({"data_source": None}, "was trained on no images"),
    ],
)
def test_an_unfinished_run_and_one_on_other_data_are_refused(
    make_run: Callable[..., Path], ship: Ship, tmp_path: Path, facts: dict[str, Any], words: str
) -> None:
    assert words in refused(ship, make_run("digit_reader", DigitReader(2), **facts), tmp_path)


def test_a_run_without_a_best_checkpoint_is_refused(finished: Path, ship: Ship, tmp_path: Path) -> None:
    (finished / "checkpoints" / "best.ckpt").unlink()
    assert "has no best checkpoint; its config needs a checkpoint.monitor" in refused(ship, finished, tmp_path)


def test_a_checkpoint_of_something_else_is_refused(finished: Path, ship: Ship, tmp_path: Path) -> None:
    checkpoint = finished / "checkpoints" / "best.ckpt"
    torch.save({"state_dict": {}, "hyper_parameters": {"latent_dim": 3}, "seed": 1}, checkpoint)
    assert "is not a checkpoint of a DigitClassifier" in refused(ship, finished, tmp_path)
    checkpoint.write_bytes(b"torn")
    assert "is damaged" in refused(ship, finished, tmp_path)


class OtherReader(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Flatten(), nn.Linear(784, 10))


def test_a_classifier_that_is_no_judge_is_refused(
    finished: Path, ship: Ship, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry._classes, "OtherReader", OtherReader)
    path = finished / "checkpoints" / "best.ckpt"
    other = DigitClassifier(OtherReader())
    whole = torch.load(path, weights_only=True)
    torch.save({**whole, "state_dict": other.state_dict(), "hyper_parameters": dict(other.hparams)}, path)
    assert "holds a OtherReader; metrics.features knows DigitCNN or DigitReader" in refused(ship, finished, tmp_path)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ({"seed_everything": 2}, "the run's seed_everything is 2 and digit_reader.yaml says 1"),
        ({"experiment": "mine"}, "the run's experiment is mine, and"),
        ({"trainer": {"max_steps": 8600}}, "the run's trainer.max_steps is 8600 and digit_reader.yaml says 4300"),
        ({"model": {}}, "the run's model.class_path is None and"),
    ],
)
def test_a_run_that_is_not_its_config_s_is_refused(
    finished: Path, ship: Ship, tmp_path: Path, override: dict[str, Any], words: str
) -> None:
    path = finished / "config.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **override}))
    assert words in refused(ship, finished, tmp_path)


def test_a_folder_that_can_not_be_written_is_refused(finished: Path, ship: Ship, tmp_path: Path) -> None:
    (tmp_path / "classifiers").write_text("a file where the folder belongs")
    code, _, err = ship(finished)
    assert code == 2
    assert f"can't write into {tmp_path / 'classifiers'}" in err
