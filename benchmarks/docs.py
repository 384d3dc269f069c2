"""Writes the tables of the pages from benchmarks/results: python -m benchmarks.docs

Between `<!-- table: NAME -->` and `<!-- end -->` a page has the table that `TABLES` makes by that name.
"""

import re
import sys
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from pathlib import Path

from benchmarks.gan_classes import ALL
from benchmarks.gan_effects import BASE, BASES, at_better_rate, effects, label, parts_of
from benchmarks.results import RESULTS
from benchmarks.tables import read, table, values_of
from metrics.features import CLASSIFIERS
from metrics.mode_coverage import class_range
from scripts.reporting.best_runs import at_best_rate, by_pair
from twofold.errors import OneLineParser, UsageError, exit_code
from twofold.provenance import ROOT
from twofold.tables import read_rows

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
MARKED = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)

CNN = ("digit_cnn",)
QUALITY = (
    "config: `{config}` | batches: {batches:,} | FID by `{classifier}`: {fid:.3g}"
    " | real-data FID by `{classifier}`: {fid_real:.3g}"
)
COVERAGE = (
    "config: `{config}` | batches: {batches:,} | precision (real): {precision:.2f} ({precision_real:.2f})"
    " | recall (real): {recall:.2f} ({recall_real:.2f}) | modes covered: {modes_covered}"
    " | classes (real): {smallest.min:.0%} to {largest.max:.0%} ({smallest_real.min:.0%} to {largest_real.max:.0%})"
)
FIDS_OF_TRIAL = "FID by `digit_cnn`: {fid_digit_cnn:.3g} | FID by `digit_reader`: {fid_digit_reader:.3g}"
LSTM = "kernel: {implementation} | threads: {threads} | T = {length:,}: "
QUARTILES = "{median:,.4g} ({lower_quartile:,.4g} to {upper_quartile:,.4g})"


def gan() -> str:
    """The table of README.md."""
    rows = read("gan_long", classifier=CNN) + read("gan_recipes", classifier=CNN)
    columns = (
        "config: `{config}` | batches: {batches:,} | seeds: {seed.n} | FID: {fid:.3g}"
        " | FID / real-data FID: {fid_over_real:.3g}"
    )
    return table(rows, "config", columns, order="fid")


def gan_recipes() -> str:
    """All recipes at equal time, the baselines also with the parts of gan.yaml that fit any recipe."""
    rows = [{**row, "version": "as shipped"} for row in read("gan_recipes")]
    rows += [{**row, "version": f"averaging, falling rates, β₁ = {row['beta1']}"} for row in read("gan_tuned")]
    return table(rows, "config version", QUALITY.replace(" | ", " | version: {version} | ", 1), order="fid_over_real")


def coverage(name: str) -> str:
    """Precision, recall and classes by `digit_cnn`, with those of training images in brackets."""
    rows = read(name, classifier=CNN)
    for row, suffix in product(rows, ("", "_real")):
        row[f"smallest{suffix}"], row[f"largest{suffix}"] = class_range(row, suffix)
    return table(rows, "config", COVERAGE, order="fid")


def gan_classes(by: str, columns: str, of_all: bool) -> str:
    """A table of the rows of all images, or of those of one class each."""
    return table([row for row in read("gan_classes") if (row["class"] == ALL) == of_all], by, columns)


def memory() -> str:
    """The table of README.md: runs solved at the shortest and the longest of the main lengths."""
    rows = read("memory_horizon", length=(20, 1000))
    rows = [{**row, "training": "growing to" if row["growing"] else "fixed at"} for row in rows]
    return table(rows, "network", "network: {network} | {training} {length:,} digits: {solved}", order="network")


def memory_tasks() -> str:
    """The accuracy at 512 steps of each network, trained at fixed, random and growing lengths with the same rate."""
    columns = "network: {network} | training length: {training} | {task}: {T=512:.0%}"
    rows = read_rows(RESULTS / "memory_tasks.csv")
    runs = [run for pair in by_pair(rows).values() for run in at_best_rate(pair)]
    runs += [row for row in rows if row["training"] != "fixed"]
    networks = list(dict.fromkeys(row["network"] for row in rows))
    runs.sort(key=lambda run: networks.index(run["network"]))
    return table([*map(values_of, runs)], "network training", columns)


def memory_far() -> str:
    """The accuracy of the median seed at the longest length: 100,000 steps, of transformers 10,000."""
    rows = [{**row, "far": row["T=10000" if row["T=100000"] == "" else "T=100000"]} for row in read("memory_far")]
    return table(rows, "network", "network: {network} | {task}: {far:.0%}")


def gan_effects() -> str:
    """The effect of each part of a GAN recipe, log₂ of a quotient of FIDs, by both classifiers."""
    measured = read_rows(RESULTS / "gan_effects.csv")
    rows = [
        {"parts": label(parts), "recipe": base, "classifier": classifier, "effect": effect}
        for base, classifier in product(BASES, CLASSIFIERS)
        for parts in parts_of(measured, base)
        for effect in effects(measured, base, parts, classifier)
    ]
    cell = "{effect.mean:+.2f} ({effect.min:+.2f} to {effect.max:+.2f})"
    return table(rows, "parts", f"changed: {{parts}} | `{{recipe}}`, by `{{classifier}}`: {cell}")


def gan_effects_modes() -> str:
    """How many modes the textbook recipe covers, and with each part, by `digit_cnn`."""
    measured, base = read_rows(RESULTS / "gan_effects.csv"), "gan_template"
    rows = [
        {**values_of(row), "changed": "nothing" if parts == BASE else label(parts)}
        for parts in (BASE, *parts_of(measured, base))
        for row in at_better_rate(measured, base, parts)
        if row["classifier"] in CNN
    ]
    return table(rows, "changed", "changed: {changed} | modes covered: {modes_covered}")


def gan_effects_bases() -> str:
    """The FIDs that the effects are relative to: those of both recipes, each at its better learning rate."""
    measured = read_rows(RESULTS / "gan_effects.csv")
    rows = [{**values_of(row), "config": base} for base in BASES for row in at_better_rate(measured, base, BASE)]
    return table(rows, "config", QUALITY)


def of(name: str, by: str, columns: str, order: str = "", **values: tuple[object, ...]) -> Callable[[], str]:
    """A function that makes the `table` of a CSV file's rows with these values."""
    return lambda: table(read(name, **values), by, columns, order)


HORIZON = partial(of, "memory_horizon", "network", order="network")
TABLES: dict[str, Callable[[], str]] = {
    "memory": memory,
    "memory_fixed": HORIZON("network: {network} | T = {length}: {solved}", growing=(False,)),
    "memory_longer": HORIZON(
        "network: {network} | runs: {seed.n} | T = 20: {T=20:.0%} | T = 50: {T=50:.0%} | T = 100: {T=100:.0%}"
        " | T = 1,000: {T=1000:.0%}",
        growing=(False,),
        length=(20,),
        solved=(True,),
    ),
    "memory_growing": HORIZON(
        "network: {network} | solved at 1,000: {solved} | length reached: {length_reached:,}", growing=(True,)
    ),
    "memory_grown": HORIZON(
        "network: {network} | runs: {seed.n} | batches: {batches} | lowest accuracy at 10,000: {T=10000.min:.1%}",
        growing=(True,),
        solved=(True,),
    ),
    "memory_configs": of(
        "palindromes_solved",
        "config length",
        "config: `{config}` | length: {length:,} | seeds solved: {solved} | batches: {batches:,}"
        " | seconds: {seconds} | test accuracy, worst seed: {accuracy.min:.2%} of {tested:,}",
        order="config",
    ),
    "memory_latch": of(
        "memory_latch", "gain input_scale", "gain: {gain} | input scale: {input_scale} | {hidden_size} units: {solved}"
    ),
    "memory_tasks": memory_tasks,
    "memory_far": memory_far,
    "memory_networks": of("memory_tasks", "network", "network: {network} | weights: {weights:,}"),
    "memory_recall": of(
        "recall_accuracy",
        "hidden_size",
        "units: {hidden_size} | T = {length}: {accuracy.mean:.0%}",
        length=(20, 48, 50, 52, 64, 66, 68),
    ),
    "memory_untrained": of(
        "untrained_lengths",
        "length seed",
        "length: {length:,} | seed: {seed} | {case}: {right} | peak memory, MB: {peak_mb:,}",
        order="length",
    ),
    "gan": gan,
    "gan_classifiers": of(
        "classifier_checks",
        "images",
        "images: {images} | FID by `{classifier}`: {fid:.3g} | precision by `{classifier}`: {precision:.3f}"
        " | recall by `{classifier}`: {recall:.3f} | modes covered: {modes_covered}",
    ),
    "gan_recipes": gan_recipes,
    "gan_betas": of(
        "gan_betas", "config", "config: `{config}` | batches: {batches:,} | β₁ = {beta1}: {fid:,.0f}", classifier=CNN
    ),
    "gan_recipes_coverage": partial(coverage, "gan_recipes"),
    "gan_long": of("gan_long", "config", QUALITY, order="fid_over_real"),
    "gan_long_coverage": partial(coverage, "gan_long"),
    "gan_effects": gan_effects,
    "gan_effects_bases": gan_effects_bases,
    "gan_effects_modes": gan_effects_modes,
    "gan_classes": partial(gan_classes, "config", QUALITY, of_all=True),
    "gan_class": partial(
        gan_classes,
        "class",
        "class: {class} | read as it by `{classifier}` (real): {read_as_class:.2%} ({read_as_class_real:.2%})"
        " | FID by `{classifier}` (real): {fid:.3g} ({fid_real:.3g})"
        " | recall by `{classifier}` (real): {recall:.2f} ({recall_real:.2f})",
        of_all=False,
    ),
    "gan_little": of(
        "gan_little",
        "batches max_shift",
        "batches: {batches:,} | shifts, pixels: {max_shift} | seeds: {seed} | FID by `{classifier}`: {fid:.3g}",
        reference=("test",),
    ),
    "gan_stacked": of(
        "gan_stacked",
        "classifier",
        "read by: `{classifier}` | seeds: {seed.n} | batches: {batches:,} | modes covered: {modes_covered:,}"
        " | KL: {kl:.3f} | modes of real stacks: {modes_covered_real:,} | KL of real stacks: {kl_real:.3f}",
    ),
    "gan_trials": of(
        "gan_trials",
        "change batches",
        "change: {change} | batches: {batches:,} | time: {cpu_time} | " + FIDS_OF_TRIAL,
    ),
    "gan_conditional_trials": of(
        "gan_conditional_trials",
        "change batches",
        "change: {change} | batches: {batches:,} | "
        + FIDS_OF_TRIAL
        + " | recall by `digit_cnn`: {recall_digit_cnn:.2f}",
    ),
    "gan_speed": of(
        "gan_speed", "program threads", f"program: {{program}} | threads: {{threads}} | {{quantity}}: {QUARTILES}"
    ),
    "lightning_overhead": of(
        "lightning_overhead", "quantity", f"quantity: {{quantity}} | `{{experiment}}`: {QUARTILES}"
    ),
    "start_up": of(
        "start_up",
        "command",
        f"command: `{{command}}` | fastest, s: {{fastest:.3g}} | median, s: {QUARTILES}"
        " | fastest − import, s: {fastest_minus_import:.2f}",
    ),
    "busy_machine": of(
        "busy_machine",
        "network threads",
        "networks: `{network}` | threads: {threads}"
        " | ms, {situation}: {median:,.1f} ({lower_quartile:,.1f} to {upper_quartile:,.1f})"
        " | ratio, {situation}: {over_fastest_idle:,.2f}",
    ),
    "lstm_kernels": of("lstm_kernels", "implementation threads", LSTM + "{ratio:.2f}"),
    "lstm_memory": of("lstm_kernels", "implementation threads", LSTM + "{peak_ratio:.2f}", threads=(1,)),
    "linear_recurrence": of("linear_recurrence", "kernel", "kernel: {kernel} | {batch_size} sequences: {ratio:.2f}"),
    "gpu": of(
        "gpu", "section case quantity", "section: {section} | case: {case} | quantity: {quantity} | value: {value}"
    ),
    "crash_resume": of(
        "crash_resume",
        "experiment",
        "experiment: `{experiment}` | kills: {kills} | while starting: {kills_while_starting}"
        " | after the last batch: {kills_after_last_batch} | runs compared: {runs} | differences: {differences}",
    ),
}


def updated(page: str) -> str:
    """The text of a page with its tables written anew.

    Raises:
        UsageError: when a marker names no table.
    """

    def table(match: re.Match[str]) -> str:
        begin, name, end = match.groups()
        if name not in TABLES:
            raise UsageError(f"there is no table {name}; write one of {', '.join(TABLES)}")
        return f"{begin}{TABLES[name]()}{end}"

    return MARKED.sub(table, page)


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the tables of pages; returns the exit code."""

    def run(arguments: list[str]) -> int:
        parser = OneLineParser(prog="python -m benchmarks.docs", description=__doc__)
        parser.add_argument("pages", nargs="*", type=Path, default=PAGES, help="by default README.md and docs/*.md")
        for page in parser.parse_args(arguments).pages:
            page.write_text(updated(page.read_text(encoding="utf-8")), encoding="utf-8")
        return 0

    return exit_code("benchmarks.docs", run, arguments)


if __name__ == "__main__":
    sys.exit(main())
