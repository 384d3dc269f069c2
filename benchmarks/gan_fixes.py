"""What each remedy does to the textbook's game, one after the other: python -m benchmarks.gan_fixes [--root DATA]

Six short games: the recipe of configs/gan_template.yaml, then the same with one remedy more each time, and last the
recipe of configs/gan.yaml. All start from the same seed, take as many batches and multiply their matrices in full
precision, whatever the device can do in less, so that what differs is the remedy.
They are too short to say how good a recipe gets; `benchmarks.gan_recipes` compares recipes at equal time.

Writes, as soon as a game has ended; what is there already is not repeated:

- benchmarks/results/gan_fixes.csv: a row for each evaluation in training. FID is that of `samples` images against
  the training images, beside its floor, that of as many validation images; `alive` are the digits in at least 2 % of
  the images; the discriminator's accuracies are means over the batches logged since the evaluation before.
- docs/pictures/gan_….png: 64 images of each at the last batch, from the same noise wherever it is as long.

Then it prints the table of docs/gan.md. Runs go under runs/ or $TWOFOLD_RUNS.
"""

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

from benchmarks.command import RESULTS, twofold
from benchmarks.digits import add_digits, real_digits, refuse_another
from benchmarks.samples import draw_samples
from metrics.mode_coverage import COVERED
from networks.generator_files import read_metadata
from scripts.generator_files import refuse_other_seeds
from scripts.jobs import falling
from twofold.errors import OneLineParser, exit_code
from twofold.provenance import ROOT
from twofold.run_folder import runs_root
from twofold.tables import read_rows, write_rows

TABLE = RESULTS / "gan_fixes.csv"
PICTURES = ROOT / "docs" / "pictures"
BATCHES = 4000
FEWEST = 40
ACCURACIES = ("d_accuracy_real", "d_accuracy_fake")


class Remedy(NamedTuple):
    """A game: a config, and what is changed in it."""

    name: str
    words: str
    config: str
    settings: tuple[str, ...]


PLAYERS = ("generator", "discriminator")
BETA = tuple(word for network in PLAYERS for word in (f"--model.{network}_optimizer.init_args.betas", "[0.5,0.999]"))
EMA = (*BETA, "--model.ema_decay", "0.999")
PENALTIES = (*EMA, "--model.r1", "1", "--model.r2", "1", "--model.d_reg_interval", "4")
REMEDIES = (
    Remedy("textbook", "the textbook recipe", "gan_template", ()),
    Remedy("beta", "β₁ of Adam 0.5 instead of 0.9", "gan_template", BETA),
    Remedy("ema", "… and the generator's moving average", "gan_template", EMA),
    Remedy("penalties", "… and R1 and R2 on every 4th batch", "gan_template", PENALTIES),
    Remedy("relativistic", "… and the relativistic loss", "gan_template", (*PENALTIES, "--model.loss", "relativistic")),
    Remedy("brushes", "`gan.yaml`: another pair, other rates", "gan", ()),
)


def command(remedy: Remedy, batches: int, seed: int) -> list[str]:
    """The arguments of `twofold` that play this game, without those about the data."""
    callbacks = [
        {
            "class_path": "callbacks.GenerativeMetrics",
            "init_args": {"every_n_batches": batches // 4, "final_samples": 0},
        },
        {"class_path": "callbacks.InterpolationStrip"},
    ]
    settings = [*remedy.settings, "--trainer.max_steps", str(batches), "--seed_everything", str(seed)]
    settings += ["--trainer.log_every_n_steps", str(FEWEST // 4), "--model.matmul_precision", "highest"]
    settings += falling(remedy.config, batches)
    return ["fit", "-c", f"configs/{remedy.config}.yaml", *settings, "--trainer.callbacks", json.dumps(callbacks)]


def play(remedy: Remedy, batches: int, seed: int, data: Sequence[str]) -> tuple[list[dict[str, Any]], Path]:
    """One game; returns a row for each evaluation, and where its generator is."""
    runs = runs_root().absolute() / "gan_fixes" / remedy.name
    shutil.rmtree(runs, ignore_errors=True)  # what one that was killed has left
    twofold(str(runs), *command(remedy, batches, seed), *data)
    (weights,) = runs.glob("*/*/mnist_generator.pth")
    facts = {"remedy": remedy.name, "seed": seed, "data_source": read_metadata(weights)["data_source"]}
    return [{**facts, **row} for row in evaluations(read_rows(weights.with_name("metrics.csv")))], weights


def evaluations(metrics: Sequence[Mapping[str, str]]) -> list[dict[str, Any]]:
    """What a game's `metrics.csv` says at each evaluation."""
    rows: list[dict[str, Any]] = []
    before = -1
    for row in metrics:
        if not row["quality/fid"]:
            continue
        step = int(row["step"])
        since = [other for other in metrics if before < int(other["step"]) <= step and other["train/d_loss"]]
        alive = [digit for digit in range(10) if float(row[f"quality/class_{digit}"]) >= COVERED]
        rows.append(
            {
                "batch": step + 1,
                "fid": f"{float(row['quality/fid']):.1f}",
                "fid_real": f"{float(row['quality/fid_real']):.2f}",
                "samples": int(float(row["quality/fid_samples"])),
                "alive": " ".join(map(str, alive)),
                **{name: f"{mean(float(other[f'train/{name}']) for other in since):.3f}" for name in ACCURACIES},
            }
        )
        before = step
    return rows


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The last evaluation of each game, in Markdown."""
    lines = [
        "| game | FID | floor | digits alive | real and fake images that D takes for what they are |",
        "|---|---|---|---|---|",
    ]
    for remedy in REMEDIES:
        ours = [row for row in rows if row["remedy"] == remedy.name]
        if ours:
            last = max(ours, key=lambda row: int(row["batch"]))
            evaluated = " and ".join(f"{float(last[name]):.0%}" for name in ACCURACIES)
            alive = last["alive"].split()
            which = "all" if len(alive) == 10 else f"{len(alive)}: {', '.join(alive)}" if alive else "none"
            lines.append(f"| {remedy.words} | {last['fid']} | {last['fid_real']} | {which} | {evaluated} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None, results: Path = TABLE, pictures: Path = PICTURES) -> int:
    """Plays what isn't played yet, draws, prints and writes the table; returns the exit code."""
    parser = OneLineParser(prog="python -m benchmarks.gan_fixes", description="what each remedy does to the game")
    add_digits(parser)
    parser.add_argument("--batches", type=int, default=BATCHES, help="of each game, in four parts")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    refuse_other_seeds("--seed", [options.seed])
    if options.batches < FEWEST:
        parser.error(
            f"--batches is {options.batches}; write {FEWEST} or more, so that each quarter of them logs something"
        )
    rows: list[dict[str, Any]] = list(read_rows(results))
    read = real_digits(options.root, options.source)
    refuse_another(rows, results, data_source=read.data_source, seed=options.seed)
    there = {row["remedy"] for row in rows if int(row["batch"]) == options.batches}
    data = ("--data.root", str(read.root.absolute()), "--data.source", options.source)
    for remedy in REMEDIES:
        if remedy.name in there:
            continue
        played, weights = play(remedy, options.batches, options.seed, data)
        draw_samples(weights, pictures / f"gan_{remedy.name}.png", options.seed)
        rows += played
        write_rows(results, list(rows[0]), rows)
    print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(exit_code("gan_fixes", main, None))
