"""The classifiers of digits that ship with the code, `assets/classifiers/<name>.safetensors`, trained on MNIST.

    classifier = load_classifier()
    classifier(images).softmax(dim=1)    # how sure it is of each digit
    classifier.features(images)          # 128 numbers an image, the space in which FID compares

Two of different architectures, so that what one says can be checked with the other. What each is, what it was trained
on and how often it errs stands in the model card beside its weights. `python -m scripts.train_classifier` makes both
files.

A safetensors file holds tensors and text and can't hold code. Its text says by the table of names which network to
build.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Float64, UInt8
from torch import Tensor

from common.files import read_safetensors, write_safetensors
from networks.classifiers import DigitCNN, DigitReader
from networks.generator_files import fill, skeleton
from networks.registry import to_spec
from networks.sampling import BATCH

Classifier = DigitCNN | DigitReader
"""`classifier(images)` gives logits `(batch, 10)`, `classifier.features(images)` 128 features; images in [−1, 1]."""

CLASSIFIERS = ("digit_cnn", "digit_reader")
FOLDER = Path(__file__).parents[1] / "assets" / "classifiers"


def load_classifier(name: str = "digit_cnn") -> Classifier:
    """A trained classifier on the CPU, in eval mode, its parameters frozen. Draws no random numbers.

    Raises:
        ValueError: when the name isn't known, or its file is missing, damaged, or describes no classifier.
    """
    if name not in CLASSIFIERS:
        raise ValueError(f"classifier '{name}' isn't known; write one of {', '.join(CLASSIFIERS)}")
    path = FOLDER / f"{name}.safetensors"
    if not path.is_file():
        raise ValueError(
            f"{path} is missing; get it back by git checkout, or make it by python -m scripts.train_classifier"
        )
    try:
        weights, text = read_safetensors(path)
        network = json.loads(text["classifier"])["network"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ValueError(f"{path} is damaged or isn't a classifier's file; get it back by git checkout") from error
    classifier = skeleton(network)
    if not isinstance(classifier, Classifier):
        raise ValueError(f"{path} names a {type(classifier).__name__}, which is no classifier")
    fill(classifier, weights, path)
    return classifier.requires_grad_(False).eval()


def save_classifier(classifier: Classifier, path: str | Path, **facts: Any) -> None:
    """Writes the weights and, as the file's text, what network they belong to and whatever else is to be known.

    The same weights and facts make the same bytes.

    Args:
        facts: plain values, such as `test_accuracy=0.994`.
    """
    write_safetensors(classifier.state_dict(), path, "classifier", {"network": to_spec(classifier), **facts})


class FeaturesAndLogits(NamedTuple):
    """What a classifier makes of images, on the CPU."""

    features: Float64[Tensor, "n 128"]
    logits: Float[Tensor, "n 10"]


def features_and_logits(classifier: Classifier, images: Float[Tensor, "n 1 28 28"]) -> FeaturesAndLogits:
    """Shows the classifier images in [−1, 1], on whatever device it is."""
    device = next(classifier.parameters()).device
    with torch.no_grad():
        features = torch.cat([classifier.features(batch.to(device)) for batch in images.split(BATCH)])
        return FeaturesAndLogits(
            features.cpu().double(), classifier.head(features).cpu()
        )  # not every device knows float64


def scaled(images: UInt8[Tensor, "n 28 28"]) -> Float[Tensor, "n 1 28 28"]:
    """Real images from 0 to 255 as a classifier wants them, in [−1, 1]."""
    return images[:, None].float() / 127.5 - 1
