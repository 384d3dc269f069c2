"""The shipped classifiers load and classify; files that aren't one of them are refused."""

import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from datamodules import MNISTDataModule
from metrics import features as module
from metrics.features import (
    CLASSIFIERS,
    check_classes,
    features_and_logits,
    load_classifier,
    save_classifier,
    scaled,
)
from networks.classifiers import DigitCNN, DigitReader
from networks.mlp_gan import MLPDiscriminator
from networks.registry import to_spec

DISCRIMINATOR = to_spec(MLPDiscriminator())
MNIST = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder from which `load_classifier` loads."""
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    return tmp_path


@pytest.fixture
def write(folder: Path) -> Callable[..., Path]:
    """Writes `digit_cnn.safetensors` with this network in the metadata, and mostly a DigitCNN's weights."""

    def write(network: Any) -> Path:
        path = folder / "digit_cnn.safetensors"
        metadata = None if network is None else {"classifier": json.dumps({"network": network})}
        save_file((DigitCNN() if network != DISCRIMINATOR else MLPDiscriminator()).state_dict(), path, metadata)
        return path

    return write


@pytest.mark.parametrize(("name", "cls"), CLASSIFIERS.items())
def test_classifiers_load_frozen_in_eval_mode(name: str, cls: type) -> None:
    before = torch.get_rng_state()
    classifier = load_classifier(name)
    assert torch.equal(torch.get_rng_state(), before)
    assert type(classifier) is cls
    assert not any(part.training for part in classifier.modules())
    assert not any(parameter.requires_grad for parameter in classifier.parameters())
    images = torch.zeros(2, 1, 28, 28, requires_grad=True)
    classifier(images).sum().backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0


def test_features_and_logits_are_the_classifiers_outputs() -> None:
    classifier, images = load_classifier(), torch.rand(103, 1, 28, 28) * 2 - 1
    features, logits = features_and_logits(classifier, images)
    torch.testing.assert_close(features, classifier.features(images).double(), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(logits, classifier(images), atol=1e-4, rtol=1e-4)


def test_scaled_maps_pixels_to_minus_one_to_one() -> None:
    pixels = torch.tensor([0, 255, 51], dtype=torch.uint8)[:, None, None, None].expand(3, 1, 28, 28)
    assert scaled(pixels)[:, 0, 5, 5].tolist() == pytest.approx([-1, 1, -0.6])


@pytest.mark.slow
@pytest.mark.skipif(not MNIST.is_dir(), reason="MNIST's test images are not in ../shared/data")
@pytest.mark.parametrize(("name", "at_least"), [("digit_cnn", 0.993), ("digit_reader", 0.989)])
def test_accuracy_on_mnists_test_images_is_that_of_the_card(name: str, at_least: float) -> None:
    mnist = MNISTDataModule(root=MNIST, source="torchvision", batch_size=500)
    mnist.setup()
    classifier = load_classifier(name)
    right = [classifier(images).argmax(dim=1) == labels for images, labels in mnist.test_dataloader()]
    measured = float(torch.cat(right).float().mean())
    assert measured >= at_least
    assert f"{measured:.2%}" in (module.FOLDER / f"{name}.md").read_text()


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_model_cards_agree_with_the_files(name: str) -> None:
    weights, card = module.FOLDER / f"{name}.safetensors", (module.FOLDER / f"{name}.md").read_text()
    assert weights.stat().st_size < 2_000_000
    with safe_open(weights, framework="pt") as file:
        metadata = json.loads(file.metadata()["classifier"])
    assert f"{metadata['test_accuracy']:.2%}" in card
    assert metadata["config"] in card
    assert (Path(__file__).parents[1] / metadata["config"]).is_file()
    assert (metadata["data"], metadata["train_images"], metadata["test_images"]) == ("MNIST", 55_000, 10_000)


def test_unknown_and_missing_classifiers_are_refused(folder: Path) -> None:
    for name in ("inception", "", "../classifiers/digit_cnn"):
        with pytest.raises(ValueError, match=r"there is no classifier '.*'; write one of digit_cnn, digit_reader"):
            load_classifier(name)
    with pytest.raises(ValueError, match=r"digit_reader\.safetensors is missing; restore it by git checkout"):
        load_classifier("digit_reader")


def test_damaged_classifier_file_is_refused(write: Callable[..., Path]) -> None:
    path = write(to_spec(DigitCNN()))
    whole = path.read_bytes()
    load_classifier()
    for content in (whole[:100], whole[:-1], whole * 2):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"digit_cnn\.safetensors is damaged"):
            load_classifier()


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("network", "words"),
    [
        (None, "is damaged or isn't a classifier's file"),
        ({"name": "os.system", "arguments": {"command": "touch x"}}, "names a os.system, which isn't a classifier"),
        ({"class_path": "antigravity.Classifier", "init_args": {}}, "doesn't describe its network"),
        ({"name": "DigitCNN", "arguments": {"width": 3}}, "DigitCNN can't be built from {'width': 3}"),
        (DISCRIMINATOR, "names a MLPDiscriminator, which isn't a classifier"),
        ({"name": "DigitReader", "arguments": {"hidden_size": 5}}, "digit_cnn.safetensors don't fit a DigitReader"),
    ],
)
def test_classifier_files_of_other_networks_are_refused(write: Callable[..., Path], network: Any, words: str) -> None:
    write(network)
    with pytest.raises(ValueError, match=words):
        load_classifier()


def test_classifiers_have_the_order_of_memory_that_is_fast_on_a_cpu() -> None:
    convolutions = [each for each in load_classifier().modules() if isinstance(each, torch.nn.Conv2d)]
    assert convolutions
    assert all(each.weight.is_contiguous(memory_format=torch.channels_last) for each in convolutions)


def test_saved_classifier_is_loaded_by_path_with_its_classes(tmp_path: Path) -> None:
    network = DigitReader(4, (3, 8, 8), 2).eval()
    network.class_names = ("cat", "dog")
    save_classifier(network, tmp_path / "c.safetensors", test_accuracy=0.5)
    loaded = load_classifier(tmp_path / "c.safetensors")
    assert (loaded.image_shape, loaded.class_names) == ((3, 8, 8), ("cat", "dog"))
    images = torch.rand(2, 3, 8, 8)
    assert torch.equal(loaded(images), network(images))
    assert load_classifier().class_names == tuple("0123456789")


def test_classes_are_compared_by_name_where_both_are_known() -> None:
    network = DigitReader(4, classes=2)
    for known, asked, words in (
        ((), ("cat", "dog"), None),
        (("cat", "dog"), ("cat", "dog"), None),
        (("cat", "dog"), (), None),
        ((), ("cat",), "the classifier knows 2 classes, and the data have 1 class \\(cat\\)"),
        (("cat", "dog"), ("dog", "cat"), r"knows 2 classes \(cat, dog\), and the data have 2 classes \(dog, cat\)"),
    ):
        network.class_names = known
        with pytest.raises(ValueError, match=words) if words else nullcontext():
            check_classes(network, asked)
