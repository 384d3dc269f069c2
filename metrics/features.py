"""The shipped digit classifiers, `assets/classifiers/<name>.safetensors`, trained on MNIST, as feature extractors.

    classifier = load_classifier()
    classifier(images).softmax(dim=1)    # (n, 10) class probabilities of images (n, 1, 28, 28) in [−1, 1]
    classifier.features(images)          # (n, 128) features, the space in which FID compares images

There are two of different architectures, so that a result can be checked with the other one. The model card beside each
file says what it was trained on and how accurate it is. `python -m scripts.train_classifier` writes both.

The metadata of a file names its network by `networks.registry`; a safetensors file can't hold code.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Float64, Int, UInt8
from torch import Tensor, nn

from common.files import read_safetensors, write_safetensors
from networks.classifiers import DigitCNN, DigitReader
from networks.generator_files import build_with_weights
from networks.registry import to_spec
from networks.sampling import BATCH

Classifier = DigitCNN | DigitReader
"""Maps images `(n, *image_shape)` in [−1, 1] to logits `(n, classes)`; `features` maps them to features `(n, 128)`."""

CLASSIFIERS: dict[str, type[Classifier]] = {"digit_cnn": DigitCNN, "digit_reader": DigitReader}
FOLDER = Path(__file__).parents[1] / "assets" / "classifiers"
DATA_SOURCES = ("torchvision", "packaged", "unnamed")
"""The `data_source` of data whose classes the shipped classifiers know, or may know; see `MNISTDataModule`."""


def load_classifier(name: str = "digit_cnn") -> Classifier:
    """Returns a trained classifier on the CPU, in eval mode, with frozen parameters. Draws no random numbers.

    Raises:
        ValueError: when the name isn't known, or the file is missing, damaged or not a classifier's.
    """
    if name not in CLASSIFIERS:
        raise ValueError(f"classifier '{name}' isn't known; write one of {', '.join(CLASSIFIERS)}")
    path = FOLDER / f"{name}.safetensors"
    if not path.is_file():
        raise ValueError(f"{path} is missing; restore it by git checkout, or run python -m scripts.train_classifier")
    weights, metadata = read_safetensors(path)
    try:
        spec = json.loads(metadata["classifier"])["network"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ValueError(f"{path} is damaged or isn't a classifier's file; restore it by git checkout") from error
    classifier = build_with_weights(spec, weights, path)
    if not isinstance(classifier, Classifier):
        raise ValueError(f"{path} names a {type(classifier).__name__}, which isn't a classifier")
    # In this order of memory a CPU takes half the time for convolutions and pooling.
    return classifier.to(memory_format=torch.channels_last).requires_grad_(False).eval()


def classifier_of(data_source: str) -> Classifier | None:
    """Returns the first classifier if it knows the classes of the data, or may know them; else None."""
    return load_classifier() if data_source in DATA_SOURCES else None


def save_classifier(classifier: Classifier, path: str | Path, **metadata: Any) -> None:
    """Writes the weights, and as the file's metadata the network's spec and whatever else is given.

    The same weights and metadata give the same bytes.

    Args:
        metadata: plain values, such as `test_accuracy=0.994`.
    """
    write_safetensors(classifier.state_dict(), path, "classifier", {"network": to_spec(classifier), **metadata})


class FeaturesAndLogits(NamedTuple):
    """A classifier's outputs for a set of images, on the CPU."""

    features: Float64[Tensor, "n 128"]
    logits: Float[Tensor, "n classes"]


def check_image_shape(classifier: nn.Module, image_shape: Sequence[int]) -> None:
    """Raises ValueError unless the classifier takes images of this shape: channels, height and width."""
    if tuple(image_shape) != classifier.image_shape:
        raise ValueError(
            f"the classifiers take images of the shape {classifier.image_shape}, not {tuple(image_shape)}; make one "
            "for these by twofold fit -c digit_classifier on the same data"
        )


def check_classes(data_source: str) -> None:
    """Raises ValueError unless the shipped classifiers know the classes of the data, or may know them."""
    if data_source not in DATA_SOURCES:
        raise ValueError(
            f"the classifiers know MNIST's digits, not {data_source}; make one for these images by twofold fit "
            f"-c digit_classifier --data.dataset {data_source}"
        )


def features_and_logits(classifier: Classifier, images: Float[Tensor, "n channels height width"]) -> FeaturesAndLogits:
    """Runs the classifier on images in [−1, 1], in batches on the classifier's device.

    Raises:
        ValueError: as `check_image_shape` does.
    """
    check_image_shape(classifier, images.shape[1:])
    device = next(classifier.parameters()).device
    with torch.no_grad():
        features = torch.cat([classifier.features(batch.to(device)) for batch in images.split(BATCH)])
        # Float64 on the CPU, because MPS doesn't have it.
        return FeaturesAndLogits(features.cpu().double(), classifier.head(features).cpu())


@runtime_checkable
class SplitDigits(Protocol):
    """Images from 0 (background) to 255 and the rows of each split, such as `datamodules.MNISTDataModule.digits`."""

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
