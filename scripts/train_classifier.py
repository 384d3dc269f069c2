"""Makes a finished run's best checkpoint a classifier that ships: its weights and its model card.

    OMP_NUM_THREADS=1 twofold fit -c configs/digit_classifier.yaml --data.source torchvision
    python -m scripts.train_classifier runs/digit_classifier/<run id>

writes assets/classifiers/digit_cnn.safetensors and digit_cnn.md; the network's own file gives the name. What the card
says
of the classifier's errors is measured at that moment, on MNIST's test images.
"""

import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args

import torch
import yaml
from jaxtyping import Int
from torch import Tensor

from common.files import replacing
from datamodules import MNISTDataModule
from lightning_modules import DigitClassifier
from metrics.features import CLASSIFIERS, FOLDER, Classifier, save_classifier
from metrics.mode_coverage import DIGITS
from scripts.jobs import read_shipped
from twofold.checkpoint_io import read_checkpoint
from twofold.errors import OneLineParser, UsageError, exit_code
from twofold.provenance import CONFIGS
from twofold.resume import leaves
from twofold.run_folder import RunFolder


class JudgeRun(NamedTuple):
    """What a run made: the network of its best checkpoint, after how many of how many batches, from which config."""

    classifier: Classifier
    step: int
    steps: int
    experiment: str
    data: dict[str, Any]
    threads: int


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes both files and prints their paths; returns the exit code, 2 when something the user wrote is wrong."""
    return exit_code("train_classifier", _run, arguments)


def _run(arguments: list[str]) -> int:
    wanted = _parse(arguments)
    trained = read_run(wanted.run)
    name = classifier_name(trained.classifier)
    try:
        mnist = MNISTDataModule(**{**trained.data, "source": "torchvision"})
        mnist.prepare_data()
        mnist.setup()
    except (ValueError, TypeError) as error:
        raise UsageError(str(error)) from error
    counts = confusion(trained.classifier, mnist)
    accuracy = int(counts.diagonal().sum()) / int(counts.sum())
    weights, card = wanted.out / f"{name}.safetensors", wanted.out / f"{name}.md"
    try:
        save_classifier(
            trained.classifier,
            weights,
            test_accuracy=accuracy,
            test_images=int(counts.sum()),
            train_images=len(mnist.digits.train),
            data="MNIST",
            config=f"configs/{trained.experiment}.yaml",
            step=trained.step,
        )
        with replacing(card) as draft:
            draft.write_text(model_card(name, trained, mnist, counts, weights.stat().st_size))
    except OSError as error:
        raise UsageError(f"can't write into {wanted.out}: {error.strerror}") from error
    print(f"{weights}\n{card}\n{accuracy:.2%} of {int(counts.sum()):,} test images read right")
    return 0


def read_run(path: Path) -> JudgeRun:
    """What a finished run on MNIST made.

    Raises:
        UsageError: when it isn't one, wasn't trained as its config in `configs/` says, or holds no classifier.
    """
    folder = RunFolder(path)
    facts = folder.facts
    if not facts:
        raise UsageError(f"{path} is not a run's folder; write runs/digit_classifier/… (`twofold runs` lists them)")
    if facts.get("data_source") != "torchvision":
        what = "on the packaged digits" if facts.get("data_source") == "packaged" else "on no images"
        raise UsageError(f"{path} was trained {what}; a classifier that ships learns from MNIST itself")
    if folder.state != "finished":
        raise UsageError(f"the run in {path} is {folder.state}; let it finish first")
    checkpoint = folder.checkpoint("best")
    if checkpoint is None:
        raise UsageError(f"the run in {path} has no best checkpoint; its config needs a checkpoint.monitor")
    try:
        network = DigitClassifier.load_from_checkpoint(checkpoint).network
        step = read_checkpoint(checkpoint)["global_step"]
    except ValueError as error:
        raise UsageError(str(error)) from error
    if not isinstance(network, Classifier):
        known = " or ".join(cls.__name__ for cls in get_args(Classifier))
        raise UsageError(f"{checkpoint} holds a {type(network).__name__}; metrics.features knows {known}")
    config = yaml.safe_load(folder.config.read_text())
    _refuse_overrides(config)
    return JudgeRun(
        classifier=network,
        step=step,
        steps=folder.step,
        experiment=config["experiment"],
        data=config["data"]["init_args"],
        threads=facts.get("threads", 1),
    )


def classifier_name(classifier: Classifier) -> str:
    """The name of the file of `networks/` in which its class stands."""
    name = type(classifier).__module__.rpartition(".")[2]
    assert name in CLASSIFIERS
    return name


@torch.no_grad()
def confusion(classifier: Classifier, mnist: MNISTDataModule) -> Int[Tensor, "10 10"]:
    """How many test images of each digit (row) are read as which (column)."""
    counts = torch.zeros(DIGITS, DIGITS, dtype=torch.long)
    for images, labels in mnist.test_dataloader():
        counts += (
            (labels * DIGITS + classifier(images).argmax(dim=1)).bincount(minlength=DIGITS**2).view(DIGITS, DIGITS)
        )
    return counts


def model_card(name: str, trained: JudgeRun, mnist: MNISTDataModule, counts: Int[Tensor, "10 10"], size: int) -> str:
    """The card in Markdown, all its numbers from the arguments."""
    network = type(trained.classifier)
    total, wrong = int(counts.sum()), int(counts.sum() - counts.diagonal().sum())
    parameters = sum(parameter.numel() for parameter in trained.classifier.parameters())
    train, held_out = len(mnist.digits.train), len(mnist.digits.validation)
    other = next(classifier for classifier in CLASSIFIERS if classifier != name)
    return f"""# {name}: a classifier of handwritten digits

Reads a 28 × 28 image and says which digit it shows. Here it says of a generator's digits whether they can be read and
how they spread over the ten classes, and its 128 features are a space in which FID compares them with real ones.

```python
from metrics.features import load_classifier

classifier = load_classifier("{name}")  # in eval mode, parameters frozen
logits = classifier(images)  # images (batch, 1, 28, 28) in [−1, 1]; logits (batch, 10)
features = classifier.features(images)  # (batch, 128), none below 0
```

## What it is

`{network.__module__}.{network.__name__}`; its file describes it. {parameters:,} parameters in float32, {size:,} bytes.
The penultimate layer has 128 ReLU units; pixels are scaled to [0, 1] inside.

## What it learned from

MNIST (LeCun, Cortes & Burges). Of the 60,000 training images {train:,} trained it and the other {held_out:,} chose the
checkpoint; the split is stratified by class and the same in every run. `configs/{trained.experiment}.yaml` trained for
{trained.steps:,} batches, and after {trained.step:,} it read the {held_out:,} best. The test images had no say in that.

## How well it reads

{wrong} of MNIST's {total:,} test images are misread: **{1 - wrong / total:.2%} right**.

| digit | images | misread | most often as |
|---|---|---|---|
{chr(10).join(_rows(counts))}

## How to make it again

```
OMP_NUM_THREADS={trained.threads} twofold fit -c configs/{trained.experiment}.yaml --data.source torchvision
python -m scripts.train_classifier runs/{trained.experiment}/<run id>
```

The first command prints the folder that the second one takes. On the same machine with the same version of torch both
files come out the same to the byte; elsewhere rounding makes it another classifier, about as good.

## What it is for, and what not

- Judging images like MNIST's: white ink on black, centred, 28 × 28. To any other image it also gives one of ten
  digits, often with confidence.
- FID in its features compares only with FID in the same features. It has a floor above 0, that of real images against
  real images; a number means little without it. The other classifier, `{other}`, confirms or refutes a ranking.
- A generator trained on this classifier's outputs or features can't be evaluated by it.
- It has seen the packaged digits: all 5,000 come from MNIST's training file. On them, also on those that a run keeps
  for testing, it is better than it would be on new ones, and what they are compared with should say so.

License: MIT, as the code.
"""


def _rows(counts: Int[Tensor, "10 10"]) -> Iterator[str]:
    for digit, row in enumerate(counts):
        wrong = row.clone()
        wrong[digit] = 0
        often = f"{int(wrong.argmax())} ({int(wrong.max())})" if wrong.any() else ""
        yield f"| {digit} | {int(row.sum()):,} | {int(wrong.sum())} | {often} |"


def _refuse_overrides(config: dict[str, Any]) -> None:
    """The card names the config as the way to the same weights, so the run has to be what the config says."""
    path = CONFIGS / f"{config.get('experiment')}.yaml"
    if not path.is_file():
        raise UsageError(
            f"the run's experiment is {config.get('experiment')}, and {path} isn't there; train from a config"
        )
    base = read_shipped("base")
    shipped = {**read_shipped(path.stem), "seed_everything": base["seed_everything"]}
    did = dict(leaves("", config))
    for key, says in leaves("", shipped):
        if did.get(key) != says:
            raise UsageError(
                f"the run's {key} is {did.get(key)} and {path.name} says {says}, so the card could not say how to make "
                "these weights again; train from the config as it is"
            )


def _parse(arguments: list[str]) -> Namespace:
    parser = OneLineParser(prog="python -m scripts.train_classifier", description=__doc__)
    parser.add_argument("run", type=Path, help="a finished run's folder, such as runs/digit_classifier/…")
    parser.add_argument("--out", type=Path, default=FOLDER, help="where to write, by default assets/classifiers")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
