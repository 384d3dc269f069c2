"""Classifiers of images as feature extractors: the shipped ones, `assets/classifiers/<name>.safetensors`, and others.

    classifier = load_classifier()    # digit_cnn, or load_classifier("runs/digit_classifier/RUN")
    classifier(images).softmax(dim=1)    # (n, 10) class probabilities of images (n, 1, 28, 28) in [−1, 1]
    classifier.features(images)          # (n, 128) features, the space in which FID compares images

The shipped ones know MNIST's digits. There are two of different architectures, so that a result can be checked with the
other one. The model card beside each file says what it was trained on and how accurate it is.
`python -m scripts.train_classifier` writes both. Classifiers of other images are trained by `twofold fit -c
digit_classifier`.

The metadata of a file names its network by `networks.registry`; a safetensors file can't hold code.
"""

import json
import string
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast, runtime_checkable

import torch
from jaxtyping import Float, Float64, Int, UInt8
from torch import Tensor, nn

from common.files import SAFETENSORS, read_safetensors, read_tensors, write_safetensors
from networks.classifiers import DigitCNN, DigitReader
from networks.generator_files import build_with_weights
from networks.registry import Spec, to_spec
from networks.sampling import BATCH

Classifier = DigitCNN | DigitReader
"""Maps images `(n, *image_shape)` in [−1, 1] to logits `(n, classes)`; `features` maps them to features `(n, 128)`."""

CLASSIFIERS: dict[str, type[Classifier]] = {"digit_cnn": DigitCNN, "digit_reader": DigitReader}
FOLDER = Path(__file__).parents[1] / "assets" / "classifiers"
CHECKPOINTS = ("best.ckpt", "last.ckpt")
"""The files of a run's folder `checkpoints` that are tried."""
DATA_SOURCES = ("torchvision", "packaged", "unnamed")
"""The `data_source` of data whose classes the shipped classifiers know, or may know; see `MNISTDataModule`."""


def load_classifier(classifier: str | Path = "digit_cnn") -> Classifier:
    """Returns a trained classifier on the CPU, in eval mode, with frozen parameters. Draws no random numbers.

    Args:
        classifier: the name of a shipped one, or the path of a run's folder, of a checkpoint of `DigitClassifier`, or
            of a file of `save_classifier`. Of a run the best checkpoint is taken, or else the last.

    Raises:
        ValueError: when there is no such classifier, or the file is damaged or not a classifier's.
    """
    path = _file_of(str(classifier))
    if path.suffix == SAFETENSORS:
        spec, weights, about = _read_safetensors(path)
    else:
        spec, weights, about = _read_checkpoint(path)
    known = [network.__name__ for network in CLASSIFIERS.values()]
    if spec.get("name", known[0]) not in known:
        raise ValueError(
            f"{path} names a {spec.get('name')}, which isn't a classifier with features; train a {' or a '.join(known)}"
        )
    network = cast("Classifier", build_with_weights(spec, weights, path).float())
    network.class_names = tuple(string.digits if classifier in CLASSIFIERS else about.get("class_names", ()))
    network.data_source = about.get("data_source") or ""
    # In this order of memory a CPU takes half the time for convolutions and pooling.
    return network.to(memory_format=torch.channels_last).requires_grad_(False).eval()


def _file_of(classifier: str) -> Path:
    path = FOLDER / f"{classifier}{SAFETENSORS}" if classifier in CLASSIFIERS else Path(classifier).expanduser()
    if classifier in CLASSIFIERS and not path.is_file():
        raise ValueError(f"{path} is missing; restore it by git checkout, or run python -m scripts.train_classifier")
    if not classifier or not path.exists():
        raise ValueError(
            f"there is no classifier '{classifier}'; write one of {', '.join(CLASSIFIERS)}, or the path of a run of "
            "twofold fit -c digit_classifier"
        )
    if not path.is_dir():
        return path
    found = [file for name in CHECKPOINTS if (file := path / "checkpoints" / name).is_file()]
    if not found:
        raise ValueError(f"{path} is no run with a checkpoint; write the folder of a run, or the path of a checkpoint")
    return found[0]


def _read_safetensors(path: Path) -> tuple[Spec, Any, Mapping[str, Any]]:
    weights, metadata = read_safetensors(path)
    try:
        about = json.loads(metadata["classifier"])
        return about["network"], weights, about
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ValueError(
            f"{path} is damaged or isn't a classifier's file; write another path, or restore it by git checkout"
        ) from error


def _read_checkpoint(path: Path) -> tuple[Spec, Any, Mapping[str, Any]]:
    match read_tensors(path):
        case {"state_dict": dict(weights), "hyper_parameters": {"network": dict(spec)}, **about}:
            prefix = "network."
            network = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
            return spec, network, cast("Mapping[str, Any]", about)
    raise ValueError(f"{path} isn't the checkpoint of a classifier; train one by twofold fit -c digit_classifier")


def classifier_of(data_source: str) -> Classifier | None:
    """Returns the first classifier if it knows the classes of the data, or may know them; else None."""
    return load_classifier() if data_source in DATA_SOURCES else None


def save_classifier(classifier: Classifier, path: str | Path, **metadata: Any) -> None:
    """Writes the weights, and as the file's metadata the network's spec, the class names and whatever else is given.

    The same weights and metadata give the same bytes.

    Args:
        metadata: plain values, such as `test_accuracy=0.994`.
    """
    known = {name: value for name in ("class_names", "data_source") if (value := getattr(classifier, name))}
    about = {"network": to_spec(classifier), **known, **metadata}
    write_safetensors(classifier.state_dict(), path, "classifier", about)


class FeaturesAndLogits(NamedTuple):
    """A classifier's outputs for a set of images, on the CPU."""

    features: Float64[Tensor, "n 128"]
    logits: Float[Tensor, "n classes"]


def check_input_shape(classifier: nn.Module, image_shape: Sequence[int]) -> None:
    """Raises ValueError unless the classifier takes images of this shape: channels, height and width."""
    if tuple(image_shape) != classifier.image_shape:
        raise ValueError(f"the classifier takes images of the shape {classifier.image_shape}, not {tuple(image_shape)}")


def check_classes(classifier: Classifier, class_names: Sequence[str]) -> None:
    """Raises ValueError unless the classifier knows these classes, or it isn't known which ones it knows."""
    names = tuple(class_names)
    if names and (len(names) != classifier.classes or classifier.class_names not in ((), names)):
        known, asked = _described(classifier.classes, classifier.class_names), _described(len(names), names)
        raise ValueError(f"the classifier knows {known}, and the data have {asked}")


def _described(classes: int, names: Sequence[str]) -> str:
    some = f" ({', '.join(names[:3])}{', …' if len(names) > 3 else ''})" if names else ""
    return f"{classes} class{'es' * (classes != 1)}{some}"


def features_and_logits(classifier: Classifier, images: Float[Tensor, "n channels height width"]) -> FeaturesAndLogits:
    """Runs the classifier on images in [−1, 1], in batches on the classifier's device.

    Raises:
        ValueError: as `check_input_shape` does.
    """
    check_input_shape(classifier, images.shape[1:])
    device = next(classifier.parameters()).device
    with torch.no_grad():
        features = torch.cat([classifier.features(batch.to(device)) for batch in images.split(BATCH)])
        # Float64 on the CPU, because MPS doesn't have it.
        return FeaturesAndLogits(features.cpu().double(), classifier.head(features).cpu())


@runtime_checkable
class Splits(Protocol):
    """Images from 0 (background) to 255 and the rows of each split, such as `datamodules.MNISTDataModule.splits`."""

    @property
    def images(self) -> UInt8[Tensor, "size channels height width"]: ...
    @property
    def train(self) -> Int[Tensor, " train"]: ...
    @property
    def validation(self) -> Int[Tensor, " validation"]: ...
    @property
    def test(self) -> Int[Tensor, " test"]: ...


def scaled(images: UInt8[Tensor, "n channels height width"]) -> Float[Tensor, "n channels height width"]:
    """Scales images from 0 … 255 to [−1, 1], the range of generated images."""
    return images.float() / 127.5 - 1
