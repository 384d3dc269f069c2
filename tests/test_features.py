"""The classifiers that ship: they load, they read, and a file that isn't one of them is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from datamodules import MNISTDataModule
from metrics import features as module
from metrics.features import CLASSIFIERS, load_classifier, save_classifier
from networks.classifiers import DigitCNN, DigitReader
from networks.mlp_gan import MLPDiscriminator
from networks.registry import to_spec

REAL = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(params=CLASSIFIERS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where `load_classifier` looks now; empty."""
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    return tmp_path


@pytest.fixture
def write(folder: Path) -> Callable[[Any], Path]:
    """Writes `digit_cnn.safetensors` with a digit CNN's weights and this text under "classifier"."""

    def write(text: str | None, weights: dict[str, Tensor] | None = None) -> Path:
        path = folder / "digit_cnn.safetensors"
        weights = DigitCNN().state_dict() if weights is None else weights
        save_file(weights, path, metadata=None if text is None else {"classifier": text})
        return path

    return write


def accuracy(classifier: module.Classifier, batches: Any) -> float:
    right = [classifier(images).argmax(dim=1) == labels for images, labels in batches]
    return float(torch.cat(right).float().mean())


def test_a_judge_loads_frozen_in_eval_mode_and_draws_no_random_numbers(name: str) -> None:
    before = torch.get_rng_state()
    classifier = load_classifier(name)
    assert torch.equal(torch.get_rng_state(), before)
    assert type(classifier).__module__ == f"networks.{name}"
    assert not any(part.training for part in classifier.modules())
    assert not any(parameter.requires_grad for parameter in classifier.parameters())
    assert {tensor.device.type for tensor in classifier.state_dict().values()} == {"cpu"}


def test_the_first_judge_is_the_cnn() -> None:
    assert isinstance(load_classifier(), DigitCNN)


def test_a_gradient_reaches_the_images_all_the_same(name: str) -> None:
    images = torch.zeros(2, 1, 28, 28, requires_grad=True)
    load_classifier(name)(images).sum().backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0


def test_features_are_128_numbers_of_at_least_0(name: str) -> None:
    features = load_classifier(name).features(torch.rand(20, 1, 28, 28) * 2 - 1)
    assert features.shape == (20, 128)
    assert features.min() == 0
    assert features.max() > 0


def test_every_packaged_digit_is_known(name: str, digits: MNISTDataModule) -> None:
    """Which says little: they come from MNIST's training file."""
    digits.setup()
    images, labels = digits.digits.images[:, None].float() / 127.5 - 1, digits.digits.labels
    batches = list(zip(images.split(250), labels.split(250), strict=True))
    assert len(batches) == 20
    assert accuracy(load_classifier(name), batches) > 0.99


def test_each_is_below_2_mb_and_its_card_tells_the_same_facts(name: str) -> None:
    weights, card = module.FOLDER / f"{name}.safetensors", (module.FOLDER / f"{name}.md").read_text()
    assert weights.stat().st_size < 2_000_000
    with safe_open(weights, framework="pt") as file:
        facts = json.loads(file.metadata()["classifier"])
    assert facts["test_accuracy"] > 0.98
    assert f"**{facts['test_accuracy']:.2%} right**" in card
    assert f"-c {facts['config']}" in card
    assert (Path(__file__).parents[1] / facts["config"]).is_file()
    assert f"{weights.stat().st_size:,} bytes" in card
    assert (facts["data"], facts["train_images"], facts["test_images"]) == ("MNIST", 55_000, 10_000)


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_dir(), reason="MNIST's test images are not in ../shared/data")
@pytest.mark.parametrize(("name", "at_least"), [("digit_cnn", 0.993), ("digit_reader", 0.989)])
def test_on_images_nobody_trained_on_it_is_as_good_as_its_card_says(name: str, at_least: float) -> None:
    mnist = MNISTDataModule(root=REAL, source="torchvision", batch_size=500)
    mnist.setup()
    measured = accuracy(load_classifier(name), mnist.test_dataloader())
    assert measured >= at_least
    assert f"**{measured:.2%} right**" in (module.FOLDER / f"{name}.md").read_text()


def test_what_is_saved_comes_back_and_the_same_makes_the_same_bytes(folder: Path) -> None:
    reader, images = DigitReader(7).eval(), torch.rand(3, 1, 28, 28)
    files = [folder / "digit_reader.safetensors", folder / "again.safetensors"]
    for file in files:
        save_classifier(reader, file, test_accuracy=0.5, data="MNIST", step=7)
    assert files[0].read_bytes() == files[1].read_bytes()
    loaded = load_classifier("digit_reader")
    assert isinstance(loaded, DigitReader)
    assert loaded.hidden_size == 7
    assert torch.equal(loaded(images), reader(images))


def test_an_unknown_name_is_refused() -> None:
    for name in ("inception", "", "../classifiers/digit_cnn"):
        with pytest.raises(ValueError, match="isn't known; write one of digit_cnn, digit_reader"):
            load_classifier(name)


def test_a_missing_file_is_refused(folder: Path, name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name}\.safetensors is missing; get it back by git checkout"):
        load_classifier(name)


def test_a_damaged_file_is_refused(folder: Path, write: Callable[..., Path]) -> None:
    path = write(json.dumps({"network": to_spec(DigitCNN())}))
    whole = path.read_bytes()
    load_classifier()
    for content in (*(whole[:length] for length in (0, 4, 100, len(whole) - 1)), b"\xff" * 100, b"{}" * 50, whole * 2):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"digit_cnn\.safetensors is damaged or isn't a classifier's file"):
            load_classifier()


@pytest.mark.parametrize(
    "text",
    [None, "", "digit_cnn", "[]", "7", "{}", '{"name": "DigitCNN"}', "[" * 100_000],
    ids=lambda text: f"{text}"[:9],
)
def test_a_file_that_does_not_say_what_it_is_is_refused(write: Callable[..., Path], text: str | None) -> None:
    write(text)
    with pytest.raises(ValueError, match="is damaged or isn't a classifier's file"):
        load_classifier()


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("network", "words"),
    [
        ({"name": "os.system", "arguments": {"command": "touch x"}}, "the table of names doesn't hold"),
        ({"class_path": "antigravity.Classifier", "init_args": {}}, "doesn't describe its network"),
        ("DigitCNN", "doesn't describe its network"),
        ({"name": "Adam", "arguments": {}}, "names 'Adam' where a Module belongs"),
        ({"name": "DigitCNN", "arguments": {"width": 3}}, "DigitCNN has no argument 'width'"),
        ({"name": "DigitReader", "arguments": {"hidden_size": "big"}}, "DigitReader can't be built from"),
        ({"name": "DigitReader", "arguments": {"hidden_size": 0}}, "hidden_size is 0"),
    ],
)
def test_what_the_table_does_not_hold_is_not_built(write: Callable[..., Path], network: Any, words: str) -> None:
    write(json.dumps({"network": network}))
    with pytest.raises(ValueError, match=words):
        load_classifier()


def test_a_network_that_is_no_judge_is_refused(write: Callable[..., Path]) -> None:
    write(json.dumps({"network": to_spec(MLPDiscriminator())}), MLPDiscriminator().state_dict())
    with pytest.raises(ValueError, match="names a MLPDiscriminator, which is no classifier"):
        load_classifier()


@pytest.mark.parametrize("hidden_size", [5, 10**6], ids=["small", "too big for any memory"])
def test_weights_of_another_network_are_refused(write: Callable[..., Path], hidden_size: int) -> None:
    write(json.dumps({"network": {"name": "DigitReader", "arguments": {"hidden_size": hidden_size}}}))
    with pytest.raises(ValueError, match=r"the weights in .*digit_cnn\.safetensors don't fit a DigitReader"):
        load_classifier()


def test_half_the_weights_are_refused(write: Callable[..., Path]) -> None:
    weights = DigitCNN().state_dict()
    weights.popitem()
    write(json.dumps({"network": to_spec(DigitCNN())}), weights)
    with pytest.raises(ValueError, match="don't fit a DigitCNN"):
        load_classifier()
