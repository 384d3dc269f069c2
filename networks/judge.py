"""The judges of digits that ship with the code, `assets/judges/<name>.safetensors`, trained on MNIST.

    judge = load_judge()
    judge(images).softmax(dim=1)    # how sure it is of each digit
    judge.features(images)          # 128 numbers an image, the space in which FID compares

Two of different architectures, so that what one says can be checked with the other. What each is, what it was trained
on and how often it errs stands in the model card beside its weights. `python -m scripts.ship_judge` makes both files.

A safetensors file holds tensors and text and can't hold code. Its text says by the table of names which network to
build.
"""

import json
from pathlib import Path
from typing import Any

from networks.digit_cnn import DigitCNN
from networks.digit_reader import DigitReader
from networks.files import fill, read_safetensors, skeleton, write_safetensors
from networks.table import describe

Judge = DigitCNN | DigitReader
"""`judge(images)` gives logits `(batch, 10)`, `judge.features(images)` their 128 features, for images in [−1, 1]."""

JUDGES = ("digit_cnn", "digit_reader")
FOLDER = Path(__file__).parents[1] / "assets" / "judges"


def load_judge(name: str = "digit_cnn") -> Judge:
    """A trained judge on the CPU, in eval mode, its parameters frozen. Draws no random numbers.

    Raises:
        ValueError: when the name isn't known, or its file is missing, damaged, or describes no judge.
    """
    if name not in JUDGES:
        raise ValueError(f"judge '{name}' isn't known; write one of {', '.join(JUDGES)}")
    path = FOLDER / f"{name}.safetensors"
    if not path.is_file():
        raise ValueError(f"{path} is missing; get it back by git checkout, or make it by python -m scripts.ship_judge")
    try:
        weights, text = read_safetensors(path)
        network = json.loads(text["judge"])["network"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ValueError(f"{path} is damaged or isn't a judge's file; get it back by git checkout") from error
    judge = skeleton(network)
    if not isinstance(judge, Judge):
        raise ValueError(f"{path} names a {type(judge).__name__}, which is no judge")
    fill(judge, weights, path)
    return judge.requires_grad_(False).eval()


def save_judge(judge: Judge, path: str | Path, **facts: Any) -> None:
    """Writes the weights and, as the file's text, what network they belong to and whatever else is to be known.

    The same weights and facts make the same bytes.

    Args:
        facts: plain values, such as `test_accuracy=0.994`.
    """
    write_safetensors(judge.state_dict(), path, "judge", {"network": describe(judge), **facts})
