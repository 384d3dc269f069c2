"""Trains a digit classifier that ships with the code; writes its weights and the numbers in its model card.

    python -m scripts.train_classifier digit_classifier    to assets/classifiers/digit_cnn.safetensors and .md
    python -m scripts.train_classifier digit_reader        to assets/classifiers/digit_reader.safetensors and .md

The run lies in runs/classifiers; a finished one is not repeated. The errors in the card are counted on MNIST's test
images.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor

from common.files import replacing
from datamodules import MNISTDataModule
from lightning_modules import DigitClassifier
from metrics.features import FOLDER, Classifier, save_classifier
from scripts.digits import open_digits
from scripts.train_runs import Job, train
from twofold.checkpoint_io import read_checkpoint
from twofold.errors import OneLineParser, exit_code
from twofold.run_folder import RunFolder, runs_root

CONFIGS = {"digit_classifier": "digit_cnn", "digit_reader": "digit_reader"}
"""The config of each classifier, and the name of its files."""
BEGIN, END = "<!-- written by scripts.train_classifier -->", "<!-- end -->"


def main(arguments: Sequence[str] | None = None) -> int:
    """Trains, writes both files and prints their paths; returns the exit code."""
    return exit_code("train_classifier", _run, arguments)


def _run(arguments: list[str]) -> int:
    parser = OneLineParser(prog="python -m scripts.train_classifier", description=__doc__)
    parser.add_argument("config", choices=CONFIGS, help="the classifier's config")
    parser.add_argument("--root", default="data", help="the folder that holds MNIST/raw, by default data")
    parser.add_argument("--out", type=Path, default=FOLDER, help="where to write, by default assets/classifiers")
    options = parser.parse_args(arguments)
    mnist = open_digits(options.root, "torchvision")
    settings = ("--data.source", "torchvision")
    job = Job(options.config, options.config, settings, local=("--data.root", options.root))
    for path in write(train([job], runs_root() / "classifiers")[job.name], options.config, mnist, options.out):
        print(path)
    return 0


def write(run: RunFolder, config: str, mnist: MNISTDataModule, out: Path) -> tuple[Path, Path]:
    """Writes the best weights of a finished run and their model card; returns both paths."""
    name = CONFIGS[config]
    weights, card = out / f"{name}.safetensors", out / f"{name}.md"
    checkpoint = run.checkpoint("best")
    assert checkpoint is not None, f"{config}.yaml has a checkpoint.monitor"
    classifier = DigitClassifier.load_from_checkpoint(checkpoint).network.eval()
    assert isinstance(classifier, Classifier)
    step = read_checkpoint(checkpoint)["global_step"]
    counts = confusion(classifier, mnist)
    total, right = int(counts.sum()), int(counts.diagonal().sum())
    save_classifier(
        classifier,
        weights,
        test_accuracy=right / total,
        test_images=total,
        train_images=len(mnist.splits.train),
        data="MNIST",
        config=f"configs/{config}.yaml",
        step=step,
    )
    lines = [
        f"{sum(parameter.numel() for parameter in classifier.parameters()):,} parameters. "
        f"`configs/{config}.yaml` trained for {run.step:,} batches; the checkpoint after {step:,} was the best on the "
        f"{len(mnist.splits.validation):,} validation images.",
        "",
        f"Test accuracy: **{right / total:.2%}**; {total - right} of {total:,} images are misclassified.",
        "",
        "| digit | images | misclassified | most often as |",
        "|---|---|---|---|",
        *(_row(digit, row.clone()) for digit, row in enumerate(counts)),
    ]
    before, _, rest = (FOLDER / card.name).read_text(encoding="utf-8").partition(BEGIN)
    with replacing(card) as draft:
        draft.write_text("\n".join([before + BEGIN, *lines, END + rest.partition(END)[2]]), encoding="utf-8")
    return weights, card


@torch.no_grad()
def confusion(classifier: Classifier, mnist: MNISTDataModule) -> Int[Tensor, "10 10"]:
    """Counts of test images by label (row) and prediction (column)."""
    counts = torch.zeros(100, dtype=torch.long)
    for images, labels in mnist.test_dataloader():
        counts += (10 * labels + classifier(images).argmax(dim=1)).bincount(minlength=100)
    return counts.view(10, 10)


def _row(digit: int, row: Int[Tensor, "10"]) -> str:
    total, row[digit] = int(row.sum()), 0
    most_often = f"{int(row.argmax())} ({int(row.max())})" if row.any() else ""
    return f"| {digit} | {total:,} | {int(row.sum())} | {most_often} |"


if __name__ == "__main__":
    sys.exit(main())
