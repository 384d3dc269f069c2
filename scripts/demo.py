"""Both lessons in a few minutes on data that ships with a package, and one page that shows what came out.

    python -m scripts.demo          writes runs/demo/index.html

Finished runs are not repeated and an interrupted one goes on; delete runs/demo to start afresh.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from jinja2 import Environment, FileSystemLoader

from lightning_modules import DigitClassifier
from networks.files import load_generator
from networks.seeding import generator, latent_noise
from runtime.cli import main as twofold
from runtime.errors import OneLineParser, exit_code
from runtime.run_folder import RunFolder
from runtime.tables import read_rows
from scripts import memory_horizon
from scripts.figures import learning_curves, picture

FOLDER = Path("runs/demo")
TEMPLATES = Path(__file__).parents[1] / "assets" / "report"
LENGTHS = (5, 20)
GRIDS_SHOWN = 6
SAMPLES = 1000
SURE = 0.9
ALIVE = 0.02


@dataclass(frozen=True)
class Run:
    """One training run of the demo: a config of `configs/` and what to change in it."""

    title: str
    experiment: str
    config: str
    overrides: tuple[str, ...] = ()

    @property
    def command(self) -> str:
        return " ".join(("twofold fit -c", self.config, *self.overrides))

    def folder(self) -> RunFolder:
        """The finished run, trained now as far as it isn't yet."""
        newest = self._newest()
        if newest and newest.state == "finished":
            print(f"{self.title}: already trained, in {newest.path}")
            return newest
        print(f"{self.title}: {self.command}")
        if newest and newest.state == "interrupted":
            arguments = ["-c", str(newest.config), "--ckpt_path", "last"]
        else:
            arguments = ["-c", self.config, "--experiment", self.experiment, *self.overrides]
        folder = self._newest() if twofold(["fit", *arguments]) == 0 else None
        return folder or sys.exit(1)

    def _newest(self) -> RunFolder | None:
        facts = max((FOLDER / self.experiment).glob("*/run.json"), default=None)
        return RunFolder(facts.parent) if facts else None


def memory_run(title: str, network: str, length: int, init: str) -> Run:
    overrides = ("--data.length", str(length), "--model.init", init, "--trainer.max_steps", "400")
    return Run(title, f"{network}_{init}_T{length}", f"configs/palindrome_{network}.yaml", overrides)


MEMORY = {
    length: [
        memory_run("RNN as it comes", "rnn", length, "torch"),
        memory_run("RNN, orthogonal", "rnn", length, "orthogonal"),
        memory_run("LSTM as it comes", "lstm", length, "torch"),
        memory_run("LSTM, forget bias log T", "lstm", length, "forget_log"),
    ]
    for length in LENGTHS
}
GAME_BATCHES = "7000"
GAME = Run(
    "Generator and discriminator",
    "gan",
    "configs/gan.yaml",
    (
        *("--data.source", "packaged", "--trainer.max_steps", GAME_BATCHES),
        *("--model.generator_lr_scheduler.total_iters", GAME_BATCHES),
        *("--model.discriminator_lr_scheduler.total_iters", GAME_BATCHES),
    ),
)
JUDGE = Run(
    "A judge of digits",
    "digit_classifier",
    "configs/digit_classifier.yaml",
    # The learning rate has to come down again within so few batches.
    ("--data.source", "packaged", "--trainer.max_steps", "500", "--model.lr_scheduler.total_steps", "500"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Trains what isn't trained yet and writes the page; returns the exit code."""
    return exit_code("demo", _run, arguments)


def _run(arguments: list[str]) -> int:
    description = (__doc__ or "").partition("\n")[0]
    OneLineParser(prog="python -m scripts.demo", description=description).parse_args(arguments)
    os.environ["TWOFOLD_RUNS"] = str(FOLDER)
    memory = {length: [(run, run.folder()) for run in runs] for length, runs in MEMORY.items()}
    horizon = FOLDER / "memory_horizon.csv"
    memory_horizon.measure(memory_horizon.SHORT, horizon)
    memory_horizon.draw(memory_horizon.read(horizon), horizon.with_suffix(".png"))
    game, judge = GAME.folder(), JUDGE.folder()
    page = FOLDER / "index.html"
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    page.write_text(
        environment.get_template("demo.html.j2").render(
            curves={length: learning_curves(runs_by_title(runs)) for length, runs in memory.items()},
            memory=[
                {"length": length, "run": run, **last_validation(folder)}
                for length, runs in memory.items()
                for run, folder in runs
            ],
            horizon=picture(horizon.with_suffix(".png")),
            study=memory_horizon.SHORT,
            grids=[
                {"picture": picture(path), "step": int(path.stem.removeprefix("step_"))}
                for path in spread(sorted((game.path / "images").glob("*.png")), GRIDS_SHOWN)
            ],
            strip=picture(game.path / "interpolation.png"),
            game={"run": GAME, **facts(game)},
            judge={"run": JUDGE, **facts(judge)},
            verdict=verdict(game, judge),
            sure=SURE,
            everything=[
                {"title": title, "folder": folder.path, "config": folder.config.read_text()}
                for title, folder in titled(memory, game, judge)
            ],
            commit=commit(),
        )
    )
    print(f"open {page.absolute()}")
    return 0


def runs_by_title(runs: Sequence[tuple[Run, RunFolder]]) -> dict[str, Path]:
    return {run.title: folder.path / "metrics.csv" for run, folder in runs}


def titled(
    memory: dict[int, list[tuple[Run, RunFolder]]], game: RunFolder, judge: RunFolder
) -> list[tuple[str, RunFolder]]:
    """Every run with a title that tells it from the others."""
    lessons = [(f"{run.title}, {n} digits", folder) for n, runs in memory.items() for run, folder in runs]
    return [*lessons, (GAME.title, game), (JUDGE.title, judge)]


def last_validation(folder: RunFolder) -> dict[str, float]:
    last = [row for row in read_rows(folder.path / "metrics.csv") if row["val/accuracy"]][-1]
    return {"loss": float(last["val/loss"]), "accuracy": float(last["val/accuracy"])}


def facts(folder: RunFolder) -> dict[str, Any]:
    config = yaml.safe_load(folder.config.read_text())
    return {"seed": config["seed_everything"], "step": folder.step, "data_source": folder.facts["data_source"]}


def verdict(game: RunFolder, judge: RunFolder) -> dict[str, Any]:
    """What the judge, who is measured on digits it has never seen, reads in new samples of the game's generator."""
    checkpoint = judge.checkpoint("best")
    assert checkpoint is not None, "the judge's config keeps its best checkpoint"
    if twofold(["test", "-c", str(judge.config), "--ckpt_path", str(checkpoint)]) != 0:
        sys.exit(1)
    (test,) = read_rows(judge.path / "test.csv")
    accuracy = float(test["test/accuracy"])
    network = load_generator(game.path / "mnist_generator.pth")
    classifier = DigitClassifier.load_from_checkpoint(checkpoint)
    with torch.no_grad():
        images = network(latent_noise(network, SAMPLES, generator(0, "demo")))
        confidence, digit = classifier(images).softmax(dim=1).max(dim=1)
    shares = (digit.bincount(minlength=10) / SAMPLES).tolist()
    return {
        "accuracy": accuracy,
        "samples": SAMPLES,
        "share_sure": (confidence > SURE).float().mean().item(),
        "shares": shares,
        "alive": sum(share >= ALIVE for share in shares),
    }


def spread(paths: list[Path], n: int) -> list[Path]:
    """At most `n` of the paths, the first, the last, and some evenly between."""
    if len(paths) <= n:
        return paths
    return [paths[round(i * (len(paths) - 1) / (n - 1))] for i in range(n)]


def commit() -> str:
    """The code's commit, "+" if files have changed since; empty outside a git checkout."""
    describe = ["git", "describe", "--always", "--dirty=+", "--exclude=*"]
    result = subprocess.run(describe, capture_output=True, text=True, cwd=Path(__file__).parent, check=False)
    return result.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
