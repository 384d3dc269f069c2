"""Figures of what `benchmarks/results` holds: drawn with the commit and the command that it is from."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from callbacks.drawing import IN_WORDS
from scripts.reporting.drawn import Drawn, Picture, Table
from twofold.provenance import ROOT, last_commit
from twofold.tables import read_rows

RESULTS = ROOT / "benchmarks" / "results"
Row = Mapping[str, str]


def measured(file: str, command: str, draw: Callable[[Path], Drawn]) -> Drawn:
    """What `draw` makes of a file, with where the file is from; words instead where it isn't there.

    Args:
        file: of `RESULTS`.
        command: that writes it.
    """
    path = RESULTS / file
    if not path.exists():
        return Drawn(notes=[f"Left out: benchmarks/results/{file} isn't there yet. It is written by: {command}"])
    origin = [f"benchmarks/results/{file}", *(f"commit {commit}" for commit in [last_commit(path)] if commit)]
    return draw(path)._replace(measured_from=", ".join(origin), measured_by=command)


def horizon() -> Drawn:
    """Accuracy against length of seven networks."""
    alt = "Accuracy against length for three RNNs and four LSTMs"

    def drawn(path: Path) -> Drawn:
        return Drawn([Picture(path.name, path.read_bytes(), alt)])

    return measured("memory_horizon.png", "python -m benchmarks.memory horizon", drawn)


def kernels() -> Drawn:
    """Time and memory of a step of each LSTM."""
    alt = "Milliseconds and memory of a step of four LSTMs against length"

    def drawn(path: Path) -> Drawn:
        return Drawn([Picture(path.name, path.read_bytes(), alt)])

    return measured("lstm_kernels.svg", "python -m benchmarks.lstm_kernels", drawn)


def game_speed() -> Drawn:
    """Images per second of the textbook game."""
    return measured("gan_speed.csv", "python -m benchmarks.speed gan --peer PYTORCH_GAN", _game_speed)


def _game_speed(path: Path) -> Drawn:
    by_contestant = _grouped(read_rows(path), "program", "threads")
    rows = []
    for (program, threads), ours in by_contestant.items():
        what = {row["quantity"]: row for row in ours}
        speed, ratio = what["images per second"], what["twofold fit / this"]
        rows.append(
            [program, threads, f"{float(speed['median']):,.0f}", _quartiles(speed), f"{float(ratio['median']):.2f}"]
        )
    columns = ("program", "threads", "images per second", "quartiles", "twofold fit / this")
    return Drawn(tables=[Table(columns, rows)])


def lightning_overhead() -> Drawn:
    """Milliseconds per batch of `twofold fit` and of a plain loop."""
    return measured("lightning_overhead.csv", "python -m benchmarks.speed overhead", _lightning_price)


def _lightning_price(path: Path) -> Drawn:
    rows = []
    for (length, threads), ours in _grouped(read_rows(path), "length", "threads").items():
        what = {row["quantity"]: row for row in ours}
        medians = [f"{float(what[name]['median']):.2f}" for name in ("twofold fit, ms", "plain loop, ms", "ratio")]
        rows.append([length, threads, *medians])
    columns = ("digits", "threads", "twofold fit, ms", "plain loop, ms", "ratio")
    return Drawn(tables=[Table(columns, rows, numbers_from=0)])


def recipes() -> Drawn:
    """Final numbers of all recipes of the game at equal time, one table for each classifier and data source."""
    return measured("gan_recipes.csv", "python -m benchmarks.gan recipes --root DATA", _recipes)


SHOWN = {
    "FID": ("fid", "{:.1f}"),
    "precision": ("precision", "{:.2f}"),
    "recall": ("recall", "{:.2f}"),
    "digits alive": ("modes_covered", "{:.0f}"),
    "batches": ("batches", "{:,.0f}"),
}


def _recipes(path: Path) -> Drawn:
    measurements, tables = read_rows(path), []
    for (classifier, batches, source), same in _grouped(
        measurements, "classifier", "batches_of_gan", "data_source"
    ).items():
        by_recipe = sorted(_grouped(same, "config").items(), key=lambda group: _mean(group[1], "fid"))
        rows = [
            [recipe, str(len(ours)), *(_with_range(ours, name, how) for name, how in SHOWN.values())]
            for (recipe,), ours in by_recipe
        ]
        floor = _mean(same, "fid_real")
        trained = f"As long as gan.yaml's {int(batches):,} batches take, on {IN_WORDS[source]}"
        title = f"{trained}, classifier {classifier}; as many real images: FID {floor:.1f}"
        tables.append(Table(("recipe", "seeds", *SHOWN), rows, title=title))
    pictures = [
        Picture(picture.name, picture.read_bytes(), f"64 images of {recipe}", recipe)
        for recipe in dict.fromkeys(row["config"] for row in measurements)
        if (picture := path.with_suffix("") / f"{recipe}.png").exists()
    ]
    return Drawn(pictures, tables, ["Means over seeds, lowest and highest in brackets."], per_row=2)


def _mean(rows: Sequence[Row], column: str) -> float:
    return mean(float(row[column]) for row in rows)


def _with_range(rows: Sequence[Row], column: str, how: str) -> str:
    values = [float(row[column]) for row in rows]
    middle, low, high = (how.format(value) for value in (mean(values), min(values), max(values)))
    return middle if low == high else f"{middle} ({low}–{high})"


def _quartiles(row: Row) -> str:
    return f"{float(row['lower_quartile']):,.0f}–{float(row['upper_quartile']):,.0f}"


def _grouped(rows: Sequence[Row], *columns: str) -> dict[tuple[str, ...], list[Row]]:
    """The rows by what stands in these columns, in the order in which that comes first."""
    groups: dict[tuple[str, ...], list[Any]] = {}
    for row in rows:
        groups.setdefault(tuple(row[column] for column in columns), []).append(row)
    return groups
