"""The runs of a report and of the demo."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from datamodules.mnist import Source
from scripts.train_runs import Job, callback, read_shipped
from twofold.run_folder import RunFolder, runs_root
from twofold.tables import read_rows

LENGTHS = (5, 20)
NETWORKS = (
    ("rnn", "torch", "RNN, default initialisation"),
    ("rnn", "orthogonal", "RNN, orthogonal"),
    ("lstm", "torch", "LSTM, default initialisation"),
    ("lstm", "forget_log", "LSTM, forget bias log T"),
)
"""The palindrome networks: type, `init` and title."""
DIGITS = (3, 8, 1)
"""The digits between which a generator interpolates."""


@dataclass(frozen=True)
class Scale:
    """How long the runs of a report train, and where they lie.

    Attributes:
        command: the command that makes the report.
        name: folder of the runs, under `runs/` or `$TWOFOLD_RUNS`.
        textbook_batches, gan_batches: batches of each GAN.
        evaluate_every: batches between two evaluations of a GAN.
        page_folder: folder of the page; None: the folder of the runs.
        source: of the digits, see `datamodules.MNISTDataModule`.
        memory_batches, recall_batches: batches of each palindrome network, at most.
        samples: images in the last evaluation of a GAN.
    """

    command: str
    name: str
    textbook_batches: int
    gan_batches: int
    evaluate_every: int
    page_folder: Path | None = None
    source: Source = "auto"
    memory_batches: int = 500
    recall_batches: int = 20_000
    samples: int = 10_000

    @property
    def runs(self) -> Path:
        return runs_root() / self.name

    @property
    def folder(self) -> Path:
        """The folder of the page."""
        return self.page_folder or self.runs

    def jobs(self, source: str, root: str | None = None) -> list[Job]:
        """All runs, the longest first.

        Args:
            source: "torchvision" or "packaged".
            root: the folder that holds MNIST/raw; None: the config's.
        """
        return [
            self._gan("textbook", "textbook recipe", "gan_template", self.textbook_batches, source, root),
            self._gan("gan", "gan.yaml", "gan", self.gan_batches, source, root),
            Job("recall", "palindrome_recall", _batches(self.recall_batches), title="LSTM"),
            *(
                Job(
                    memory_name(network, init, length),
                    f"palindrome_{network}",
                    (*_batches(self.memory_batches), "--data.length", str(length), "--model.init", init),
                    title=title,
                )
                for length in LENGTHS
                for network, init, title in NETWORKS
            ),
        ]

    def _gan(self, name: str, title: str, config: str, batches: int, source: str, root: str | None) -> Job:
        callbacks = [
            callback("ImageGrid", every_n_batches=batches, also_at=grid_steps(batches)[1:]),
            callback("GenerativeMetrics", every_n_batches=self.evaluate_every, final_samples=self.samples),
            callback("InterpolationStrip", digits=list(DIGITS), steps=8),
        ]
        settings = ("--data.source", source, "--trainer.callbacks", json.dumps(callbacks))
        local = ("--data.root", root) if root else ()
        return Job(name, config, (*_batches(batches), *settings), local, title)


def grid_steps(batches: int) -> list[int]:
    """The batches after which the images of a GAN are shown: at the start, about halfway and at the end."""
    half = batches // 2
    return [step for step in (0, 500, 1000, half - 500, half, half + 500) if 0 <= step < batches] + [batches]


def memory_name(network: str, init: str, length: int) -> str:
    return f"{network}_{init}_T{length}"


def _batches(number: int) -> tuple[str, str]:
    return "--trainer.max_steps", str(number)


DEMO = Scale("python -m scripts.demo", "demo", 4000, 4000, evaluate_every=500, source="packaged")
REPORT = Scale(
    "python -m scripts.report",
    "report",
    textbook_batches=18_760,  # 20 epochs of 60,000 images
    gan_batches=read_shipped("gan")["trainer"]["max_steps"],
    evaluate_every=1000,
    page_folder=Path("report"),
)


class TrainedRun(NamedTuple):
    """A finished run of a report."""

    job: Job
    run: RunFolder

    @property
    def path(self) -> Path:
        return self.run.path

    def points(self, metric: str) -> tuple[list[int], list[float]]:
        """The batches after which a metric was logged, and its values."""
        rows = [row for row in read_rows(self.path / "metrics.csv") if row.get(metric)]
        return [int(row["step"]) + 1 for row in rows], [float(row[metric]) for row in rows]

    @property
    def checkpoint(self) -> Path:
        """The best checkpoint, or the last."""
        checkpoint = self.run.checkpoint("best") or self.run.checkpoint("last")
        assert checkpoint is not None, f"{self.path} has no checkpoint"
        return checkpoint


def data_names(runs: Sequence[TrainedRun]) -> str:
    """What the runs were trained on."""
    names = {"torchvision": "MNIST", "packaged": "the packaged digits", None: "palindromes"}
    return ", ".join(dict.fromkeys(names[run.run.facts.get("data_source")] for run in runs))
