"""What each part of a GAN recipe changes: python -m benchmarks.gan_effects [arms] [crossed] [--root DATA]

**Question.** gan.yaml's FID is far below that of gan_template.yaml, the textbook recipe. Which differences matter?

**Protocol**, written before the runs. Here gan.yaml has R2, as the search left it; R2 went by the results.

- Each part is added to the textbook recipe alone, and dropped from gan.yaml alone: `PARTS`. gan.yaml's loss is the
  textbook's, so the relativistic loss is added to both. Both have BatchNorm in G, so it is dropped from both.
- Equal time: each arm trains for as many batches as take the time of 10,000 batches of gan.yaml with one thread, about
  four minutes. What a batch of each arm takes is measured first, by interleaved timing with nothing else running.
- Two learning rates for each arm, because a part may need another one: those of its base recipe, and both networks'
  three times as high (textbook) or a third (gan.yaml), which is toward the other recipe. The rate with the lower FID
  for seed 1 is the arm's, for seeds 2 and 3 too. Both base recipes choose their rate in the same way.
- FID is measured by digit_cnn on the 5,000 held-out images, the mean of four draws of 5,000. `digit_reader` stands
  beside it and chooses nothing. Nothing looks at test images.
- The effect of a part is the mean over seeds of log₂ (FID of the arm / FID of its base recipe at the same seed). Its
  spread is the lowest and the highest of the three seeds. An effect counts where all seeds have the same sign and the
  mean exceeds the difference between the base recipe's own highest and lowest log₂ FID. Figures show it in grey.
- `crossed`: the two parts with the largest effects, added to the textbook recipe together and dropped from gan.yaml
  together, by the same rules: do they add up? Of parts that change one setting differently it takes the larger.
  Added when the single effects were known: `crossed --parts` with R1 and R2, and with R2, no batch norm in G and
  standardised input of D.

Trainings run two at a time with one thread each. What they reach depends on their batches, not on the time.
Writes gan_effects_speed.csv, gan_effects.csv and gan_effects.png. Finished rows are not repeated, runs resume.
"""

import json
import math
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from functools import partial
from statistics import mean
from typing import Any

from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from benchmarks.command import add_mnist, run
from benchmarks.gan import job, ms_per_batch, train_and_evaluate
from benchmarks.memory_horizon import write_picture
from benchmarks.results import Results
from datamodules import MNISTDataModule
from networks.mlp_conv_gan import MNIST_MEAN, MNIST_STD
from networks.mlp_gan import MLPDiscriminator
from scripts.digits import open_digits
from scripts.plotting import panels
from scripts.train_runs import callback, read_shipped

DRAWS = 4
CHOOSES = "digit_cnn"
BASES = {"gan_template": 3.0, "gan": 1 / 3}
"""The base recipes, each with the factor of its second learning rate."""
AT_ONCE = 6
"""Trainings that are timed by turns at the same time, gan.yaml among them."""
TURNS = 1

Settings = Mapping[str, Any]
Row = Mapping[str, str]
Arm = tuple[str, tuple[str, ...]]
"""A base recipe and the parts that are changed."""


class StandardisedMLPDiscriminator(MLPDiscriminator):
    """The textbook's D with standardised input."""

    def forward(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, " batch"]:
        return super().forward((images - MNIST_MEAN) / MNIST_STD)


def _network(class_path: str, **arguments: Any) -> dict[str, Any]:
    return {"class_path": class_path, "init_args": arguments}


def _both(name: str, value: Any) -> dict[str, Any]:
    return {f"generator_{name}": value, f"discriminator_{name}": value}


TEXTBOOK_WIDTHS, GAN_WIDTHS = [128, 256, 512, 1024], [256, 512, 512]
R1_R2, INTERVAL = 0.7416, 8
TO_ZERO = _network("torch.optim.lr_scheduler.LinearLR", start_factor=1.0, end_factor=0.0)
UNSTANDARDISED = _network("networks.mlp_conv_gan.PixelUnshuffleDiscriminator", mean=0.0, std=1.0)
RELATIVISTIC = {"loss": "relativistic"}
NO_BATCH_NORM = {"generator.init_args.normalisation": "none"}

REMOVED_SINCE: dict[str, Settings] = {"gan_template": {}, "gan": {"r2": R1_R2}}
"""Settings of the base recipes that were removed from their configs by the results."""
PARTS: dict[str, tuple[Settings, Settings]] = {
    "relativistic loss": (RELATIVISTIC, RELATIVISTIC),
    "R1": ({"r1": R1_R2, "d_reg_interval": INTERVAL}, {"r1": 0}),
    "R2": ({"r2": R1_R2, "d_reg_interval": INTERVAL}, {"r2": 0}),
    "latent of 16 instead of 100": ({"generator.init_args.latent_dim": 16}, {"generator.init_args.latent_dim": 100}),
    "standardised input of D": (
        {"discriminator": _network("benchmarks.gan_effects.StandardisedMLPDiscriminator")},
        {"discriminator": UNSTANDARDISED},
    ),
    "transposed-convolution head of G": (
        {"generator": _network("networks.mlp_conv_gan.MLPConvGenerator", latent_dim=100, widths=TEXTBOOK_WIDTHS)},
        {"generator": _network("networks.mlp_gan.MLPGenerator", latent_dim=16, widths=GAN_WIDTHS)},
    ),
    "pixel-unshuffle CNN as D": (
        {"discriminator": UNSTANDARDISED},
        {"discriminator": _network("benchmarks.gan_effects.StandardisedMLPDiscriminator")},
    ),
    "averaging": ({"ema_decay": 0.9998}, {"ema_decay": None}),
    "falling learning rates": (_both("lr_scheduler", TO_ZERO), _both("lr_scheduler", None)),
    "β₁ = 0.5": (_both("optimizer.init_args.betas", [0.5, 0.999]), _both("optimizer.init_args.betas", [0.5, 0.99])),
    "β₁ = 0 instead of 0.9": (
        _both("optimizer.init_args.betas", [0.0, 0.999]),
        _both("optimizer.init_args.betas", [0.9, 0.99]),
    ),
    "no batch norm in G": (NO_BATCH_NORM, NO_BATCH_NORM),
}
"""What each part changes in the textbook recipe, and in gan.yaml, as arguments of `GAN`."""
SET_IN_BOTH = ("relativistic loss", "β₁ = 0.5", "no batch norm in G")
"""Parts of neither recipe. They are not dropped from gan.yaml but set there, too; tables mark them with *."""
BASE = "base recipe"


def add_options(parser: ArgumentParser) -> None:
    add_mnist(parser)
    parser.add_argument("--batches", type=int, default=10_000, help="of gan.yaml, whose time each arm gets")
    parser.add_argument("--seeds", type=int, nargs="+", default=(1, 2, 3))
    parser.add_argument("--parts", nargs="+", choices=PARTS, help="by default all; for `crossed` the largest two")


def settings_of(base: str, parts: Sequence[str], factor: float = 1.0) -> tuple[str, ...]:
    """The arguments of `twofold fit -c base` with these parts changed, and the learning rates times a factor."""
    arguments = dict(REMOVED_SINCE[base])
    for part in parts:
        arguments |= PARTS[part][list(BASES).index(base)]
    shipped = read_shipped(base)["model"]["init_args"]
    for name in ("generator_optimizer", "discriminator_optimizer"):
        arguments[f"{name}.init_args.lr"] = float(f"{factor * shipped[name]['init_args']['lr']:.4g}")
    # A whole network comes before its arguments, which it would replace.
    ordered = sorted(arguments.items(), key=lambda item: item[0].count("."))
    written = {name: value if isinstance(value, str) else json.dumps(value) for name, value in ordered}
    return tuple(word for name, value in written.items() for word in (f"--model.{name}", value))


def arms(options: Namespace) -> None:
    """Both base recipes, and each with each part changed."""
    singles = ((part,) for part in options.parts or PARTS)
    _measure([(base, parts) for parts in ((), *singles) for base in BASES], options)


def crossed(options: Namespace) -> None:
    """Several parts together."""
    together = tuple(sorted(options.parts or largest_pair(_results(options).rows)))
    _measure([(base, together) for base in BASES], options)


def _time_arms(arms: Sequence[Arm], options: Namespace) -> None:
    """Adds a row for each arm: milliseconds per batch, and those of gan.yaml interleaved with it."""
    speeds = _speeds(options)
    missing = [arm for arm in arms if not speeds.has(base=arm[0], parts=_named(arm[1]))]
    for first in range(0, len(missing), AT_ONCE - 1):
        some = missing[first : first + AT_ONCE - 1]
        together = dict.fromkeys([("gan", ()), *some])
        arguments = {f"{base} {parts}": (base, *settings_of(base, parts)) for base, parts in together}
        ms = ms_per_batch(arguments, TURNS, options)
        for base, parts in some:
            row = {"base": base, "parts": _named(parts), "ms_per_batch": ms[f"{base} {parts}"]}
            speeds.add({**row, "ms_per_batch_of_gan": ms[f"gan {()}"], "threads": 1})


def largest_pair(rows: Sequence[Row]) -> tuple[str, str]:
    """The part with the largest effects, and the one with the next largest that doesn't undo it."""
    size = {part: mean(abs(each) for base in BASES for each in effects(rows, base, part)) for part in PARTS}
    first, *others = sorted(size, key=lambda part: -size[part])
    changed, _ = PARTS[first]
    return first, next(part for part in others if {**changed, **PARTS[part][0]}.items() >= changed.items())


def _measure(arms: Sequence[Arm], options: Namespace) -> None:
    """Times all, trains each with both learning rates and the first seed, then with the better rate and the others."""
    _time_arms(arms, options)
    data = open_digits(options.root, options.source)
    results = _results(options)
    results.refuse_other(batches_of_gan=options.batches)
    first, *others = options.seeds
    for base, parts in arms:
        _train_missing([(base, parts, factor, first) for factor in (1.0, BASES[base])], data, results, options)
        factor = chosen_factor(results.rows, base, _named(parts))
        _train_missing([(base, parts, factor, seed) for seed in others], data, results, options)
    write_picture(options.out / "gan_effects.png", figure(results.rows))


def _train_missing(
    runs: Sequence[tuple[str, tuple[str, ...], float, int]], data: MNISTDataModule, results: Results, options: Namespace
) -> None:
    """Trains the runs that have no row, two at a time, and adds a row per classifier for each."""
    jobs = {}
    for base, parts, factor, seed in runs:
        batches = batches_at_equal_time(base, parts, options)
        columns = {"base": base, "parts": _named(parts), "lr_factor": f"{factor:.4g}", "seed": seed}
        only = ("--trainer.callbacks", json.dumps([callback("InterpolationStrip")]))
        name = "_".join("".join(filter(str.isalnum, str(value))) for value in columns.values())
        settings = (*settings_of(base, parts, factor), *only)
        training = job(base, batches, seed, options, *settings, name=f"effects_{name}")
        jobs[training] = {**columns, "batches": batches, "batches_of_gan": options.batches}
    train_and_evaluate(jobs, data, results, "validation", DRAWS)


def batches_at_equal_time(base: str, parts: tuple[str, ...], options: Namespace) -> int:
    """How many batches of this arm take the time of `options.batches` of gan.yaml."""
    (timed,) = (row for row in _speeds(options).rows if (row["base"], row["parts"]) == (base, _named(parts)))
    return round(int(options.batches) * float(timed["ms_per_batch_of_gan"]) / float(timed["ms_per_batch"]))


def chosen_factor(rows: Sequence[Row], base: str, parts: str) -> float:
    """The factor of the learning rates with the lower FID of the first seed."""
    fids = {factor: _fids(_at_rate(rows, base, parts, factor)) for factor in (1.0, BASES[base])}
    # A FID that isn't finite is the worst.
    return min(fids, key=lambda factor: next((fid for fid in fids[factor].values() if math.isfinite(fid)), math.inf))


def effects(rows: Sequence[Row], base: str, parts: str, classifier: str = CHOOSES) -> list[float]:
    """log₂ of the FID with these parts changed over that of the base recipe, for each seed, each at its own rate."""
    changed, unchanged = (_fids(at_better_rate(rows, base, name), classifier) for name in (parts, BASE))
    return [math.log2(fid / unchanged[seed]) for seed, fid in changed.items() if seed in unchanged]


def at_better_rate(rows: Sequence[Row], base: str, parts: str) -> list[Row]:
    """The rows of an arm at its chosen learning rate."""
    return _at_rate(rows, base, parts, chosen_factor(rows, base, parts))


def _at_rate(rows: Sequence[Row], base: str, parts: str, factor: float) -> list[Row]:
    return [row for row in rows if (row["base"], row["parts"], row["lr_factor"]) == (base, parts, f"{factor:.4g}")]


def _fids(rows: Sequence[Row], classifier: str = CHOOSES) -> dict[str, float]:
    """The FIDs by seed, in the order of the rows, of which the first seed is the first."""
    return {row["seed"]: float(row["fid"]) for row in rows if row["classifier"] == classifier}


def figure(rows: Sequence[Row]) -> Figure:
    """The effects on both recipes: a dot per seed, a line from the lowest to the highest, sorted by the mean."""
    drawing, axes = panels(len(BASES))
    titles = {"gan_template": "added to the textbook recipe", "gan": "dropped from gan.yaml (*: set there, too)"}
    for base, axis in zip(BASES, axes, strict=True):
        found = {name: effects(rows, base, name) for name in parts_of(rows, base)}
        ordered = sorted((name for name in found if found[name]), key=lambda name: mean(found[name]))
        for height, name in enumerate(ordered):
            axis.plot([min(found[name]), max(found[name])], [height, height], color="C0", linewidth=1.5)
            axis.plot(found[name], [height] * len(found[name]), "o", color="C0", markersize=4)
        own = [math.log2(fid) for fid in _fids(at_better_rate(rows, base, BASE)).values()]
        spread = max(own) - min(own)
        axis.axvspan(-spread, spread, color="0.85", zorder=0)
        axis.axvline(0, color="0.4", linewidth=0.8)
        axis.set_yticks(range(len(ordered)), map(label, ordered), fontsize=8)
        axis.set_xlabel("log₂ (FID / FID of the recipe), less is better", fontsize=8)
        axis.set_title(titles[base], fontsize=9)
    drawing.set_size_inches(12, 4.8)
    return drawing


def parts_of(rows: Sequence[Row], base: str) -> list[str]:
    """The arms of a base recipe that have rows."""
    return list(dict.fromkeys(row["parts"] for row in rows if row["base"] == base and row["parts"] != BASE))


def label(parts: str) -> str:
    """What figures and tables call an arm."""
    return parts + " *" * (parts in SET_IN_BOTH)


def _named(parts: Sequence[str]) -> str:
    """The parts in one column of a table."""
    return " + ".join(parts) or BASE


def _speeds(options: Namespace) -> Results:
    return Results(options.out / "gan_effects_speed.csv", "base", "parts")


def _results(options: Namespace) -> Results:
    return Results(options.out / "gan_effects.csv", "base", "parts", "lr_factor", "seed", "classifier")


BENCHMARKS = {"arms": arms, "crossed": crossed}
main = partial(run, "gan_effects", __doc__, BENCHMARKS, add_options=add_options)

if __name__ == "__main__":
    sys.exit(main())
