"""Which runs a report is made of, and how long they are."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from scripts.jobs import Job, falling, read_shipped
from twofold.run_folder import runs_root

GAN_BATCHES: int = read_shipped("gan")["trainer"]["max_steps"]
LENGTHS = (5, 20)
STRIP = (3, 8, 1)
"""The digits that the last strip of a game walks between."""


@dataclass(frozen=True)
class Scale:
    """How much a report trains, and where it and its runs lie.

    Attributes:
        name: of the folder of its runs, in `runs/` or `$TWOFOLD_RUNS`.
        command: what is typed to make it; `--only NAME` goes behind.
        memory_batches, recall_batches: of each palindrome network, at most.
        textbook_batches, gan_batches: of each game.
        evaluate_every: batches between two evaluations of a game.
        page_folder: where `index.html`, `report.pdf` and `figures/` go; None: beside the runs.
        source: of the digits, as `datamodules.MNISTDataModule` has it.
        early: batches after which a game is drawn, besides the first, the last and three about halfway.
        around: batches from halfway to its two neighbours.
        samples: images of the last evaluation of a game.
    """

    name: str
    command: str
    textbook_batches: int
    gan_batches: int
    evaluate_every: int
    page_folder: Path | None = None
    source: str = "auto"
    memory_batches: int = 500
    recall_batches: int = 20_000
    early: tuple[int, ...] = (500, 1000)
    around: int = 500
    samples: int = 10_000

    @property
    def runs(self) -> Path:
        """The folder of its runs."""
        return runs_root() / self.name

    @property
    def folder(self) -> Path:
        """Where its page goes."""
        return self.page_folder or self.runs

    def moments(self, batches: int) -> list[int]:
        """After how many batches a game of this length is drawn, from 0 to the last."""
        half = batches // 2
        return [0, *self.early, half - self.around, half, half + self.around, batches]


DEMO = Scale(
    name="demo",
    command="python -m scripts.demo",
    textbook_batches=4000,
    gan_batches=4000,
    evaluate_every=500,
    source="packaged",
)
REPORT = Scale(
    name="report",
    command="python -m scripts.report",
    textbook_batches=18_760,  # 20 epochs of 60,000 images
    gan_batches=GAN_BATCHES,
    evaluate_every=1000,
    page_folder=Path("report"),
)
FULL = replace(REPORT, command="python -m scripts.report --full", textbook_batches=187_600)


def memory_name(network: str, init: str, length: int) -> str:
    return f"{network}_{init}_T{length}"


REMEDIES = (
    ("rnn", "torch", "RNN as it comes"),
    ("rnn", "orthogonal", "RNN, orthogonal"),
    ("lstm", "torch", "LSTM as it comes"),
    ("lstm", "forget_log", "LSTM, forget bias log T"),
)
"""Each network as it comes and with one remedy: its short name, its `init` and its title."""


def jobs(scale: Scale) -> dict[str, Job]:
    """All runs by name, those that take longest first, so that none is left to the end alone."""
    games = [
        game("textbook", "textbook recipe", "gan_template", scale, scale.textbook_batches),
        game("gan", "gan.yaml", "gan", scale, scale.gan_batches),
    ]
    recall = Job("recall", "LSTM that writes the second half", "palindrome_recall", scale.recall_batches)
    memories = [
        Job(
            memory_name(network, init, length),
            title,
            f"palindrome_{network}",
            scale.memory_batches,
            ("--data.length", str(length), "--model.init", init),
        )
        for length in LENGTHS
        for network, init, title in REMEDIES
    ]
    return {job.name: job for job in (*games, recall, *memories)}


def game(recipe: str, title: str, config: str, scale: Scale, batches: int) -> Job:
    """A game that leaves the pictures and numbers that a report shows; runs of other lengths have other names."""
    callbacks: list[dict[str, Any]] = [
        {
            "class_path": "callbacks.ImageGrid",
            "init_args": {"every_n_batches": batches, "also_at": scale.moments(batches)[1:]},
        },
        {
            "class_path": "callbacks.GenerativeMetrics",
            "init_args": {"every_n_batches": scale.evaluate_every, "final_samples": scale.samples},
        },
        {"class_path": "callbacks.InterpolationStrip", "init_args": {"digits": list(STRIP)}},
    ]
    callbacks_as_text = json.dumps(callbacks)
    settings = (*falling(config, batches), "--data.source", scale.source, "--trainer.callbacks", callbacks_as_text)
    return Job(game_name(recipe, batches), title, config, batches, settings, reads_digits=True)


def game_name(recipe: str, batches: int) -> str:
    return f"{recipe}_{batches}"
