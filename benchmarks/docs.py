"""Writes the tables of the pages from benchmarks/results: python -m benchmarks.docs

Between `<!-- table: NAME -->` and `<!-- end -->` a page has the table that `TABLES` makes by that name.
"""

import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import mean, median
from typing import Any

from benchmarks.results import RESULTS
from twofold.errors import OneLineParser, UsageError, exit_code
from twofold.provenance import ROOT
from twofold.tables import read_rows

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
MARKED = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)

Row = dict[str, Any]


def read(name: str, **columns: object) -> list[Row]:
    """The rows of a table with these values, with numbers as numbers."""
    rows = [{column: _value(text) for column, text in row.items()} for row in read_rows(RESULTS / f"{name}.csv")]
    return [row for row in rows if columns.items() <= row.items()]


def _value(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return {"True": True, "False": False}.get(text, text)


def grouped(rows: Iterable[Row], *columns: str) -> dict[Any, list[Row]]:
    """The rows by their values in these columns, in the order of the file."""
    groups: dict[Any, list[Row]] = {}
    for row in rows:
        key = tuple(row[column] for column in columns)
        groups.setdefault(key[0] if len(key) == 1 else key, []).append(row)
    return groups


def markdown(head: str, lines: Iterable[Iterable[object]]) -> str:
    """A table; the columns of the head are separated by " | "."""
    rows = [head.split(" | "), *([str(cell) for cell in line] for line in lines)]
    written = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([written[0], "|---" * len(rows[0]) + "|", *written[1:]]) + "\n"


def formatted(name: str, columns: str, **where: object) -> str:
    """A line for each row; the columns are heads with format strings, such as "length: {length:,} | ms: {ms:.1f}"."""
    heads, cells = zip(*(column.split(": ", 1) for column in columns.split(" | ")), strict=True)
    return markdown(" | ".join(heads), ([cell.format_map(row) for cell in cells] for row in read(name, **where)))


def pivot(name: str, corner: str, line: str, column: str, cell: str, **where: object) -> str:
    """A line for each value of the format string `line`, a column for each value of the column `column`."""
    rows = [{**row, "": line.format_map(row)} for row in read(name, **where)]
    heads = " | ".join(f"{head:,}" for head in grouped(rows, column))
    lines = ([key, *(cell.format_map(each) for each in own)] for key, own in grouped(rows, "").items())
    return markdown(f"{corner} | {heads}", lines)


def share(number: float, digits: int = 0) -> str:
    return f"{number:.{digits}%}"


def short(number: float) -> str:
    """Three digits, of small numbers two decimals."""
    return f"{number:.2f}" if number < 10 else f"{float(f'{number:.3g}'):,g}"


def span(numbers: Iterable[float]) -> str:
    """From the lowest to the highest."""
    ordered = [f"{number:,}" for number in sorted(numbers)]
    return "–" if not ordered else ordered[0] if ordered[0] == ordered[-1] else f"{ordered[0]} to {ordered[-1]}"


def solved(rows: list[Row]) -> str:
    """How many of the runs are solved."""
    return f"{sum(row['solved'] for row in rows)} of {len(rows)}"


# Memory


def networks(**columns: object) -> dict[str, list[Row]]:
    """The runs of each network of the memory horizon with these values, in the order of the file."""
    by_network = grouped(read("memory_horizon"), "network")
    return {name: [row for row in rows if columns.items() <= row.items()] for name, rows in by_network.items()}


def memory() -> str:
    """The table of README.md."""
    grown = networks(growing=True)
    lines = ([name, solved(rows), solved(grown[name])] for name, rows in networks(growing=False, length=20).items())
    return markdown("network | solved at 20 digits, fixed length | solved at 1,000 digits, growing length", lines)


def memory_fixed() -> str:
    lengths = grouped(read("memory_horizon", growing=False), "length")
    lines = ([name, *map(solved, grouped(runs, "length").values())] for name, runs in networks(growing=False).items())
    return markdown("network | " + " | ".join(f"T = {length}" for length in lengths), lines)


def memory_longer() -> str:
    """Accuracy at longer palindromes of the runs that solved 20 digits, of the worst and the best of them."""
    lines = []
    for name, runs in networks(growing=False, length=20, solved=True).items():
        accuracies = [sorted(row[f"T={T}"] for row in runs) for T in (20, 50, 100, 1000)]
        if runs:
            lines.append([name, len(runs), *(f"{share(at[0])} to {share(at[-1])}" for at in accuracies)])
    return markdown("network | runs | T = 20 | T = 50 | T = 100 | T = 1,000", lines)


def memory_growing() -> str:
    lines = []
    for name, runs in networks(growing=True).items():
        good = [row for row in runs if row["solved"]]
        batches, reached = span(row["batches"] for row in good), span(row["length_reached"] for row in runs)
        lines.append([name, solved(runs), batches, reached, share(min(r["T=10000"] for r in good), 1) if good else "–"])
    head = "network | solved at 1,000 | batches | length reached | lowest accuracy at 10,000 of the solved"
    return markdown(head, lines)


def memory_configs() -> str:
    lines = []
    for (config, length), runs in sorted(grouped(read("palindromes_solved"), "config", "length").items()):
        batches, seconds = span(row["batches"] for row in runs), span(row["seconds"] for row in runs)
        worst = f"{share(min(row['accuracy'] for row in runs), 2)} of {runs[0]['tested']:,}"
        lines.append([f"`{config}`", f"{length:,}", solved(runs), batches, seconds, worst])
    return markdown("config | length | seeds solved | batches | seconds | test accuracy, worst seed", lines)


def memory_recall() -> str:
    """Accuracy at the length that was mastered last, and next to it."""
    lines = []
    accuracies = read("recall_accuracy")
    for units, growth in grouped(read("recall_growth"), "hidden_size").items():
        own = grouped((row for row in accuracies if row["hidden_size"] == units), "length")
        at = {length: mean(row["accuracy"] for row in rows) for length, rows in own.items()}
        mastered = max(row["length"] for row in growth)
        near = (max(T for T in at if mastered > T), min(T for T in at if mastered < T), 20)
        there = share(at[mastered]) if mastered in at else "not tested"
        lines.append([units, mastered, there, *(f"{share(at[T])} at {T}" for T in near)])
    return markdown("units | length mastered | accuracy there | shorter | longer | much shorter", lines)


# GAN


def quality(table: str) -> str:
    """What generators reached, the best config first."""
    lines = []
    for config, rows in grouped(read(table), "config").items():
        by = grouped(rows, "classifier")
        ratios = [median(row["fid_over_real"] for row in by[name]) for name in ("digit_cnn", "digit_reader")]
        fids = sorted(row["fid"] for row in by["digit_cnn"])
        cells = [f"`{config}`", f"{rows[0]['batches']:,}", ", ".join(map(short, fids)), *map(short, ratios)]
        if "modes_covered" in rows[0]:
            shares = [row[f"class_{digit}"] for row in by["digit_cnn"] for digit in range(10)]
            cells += [span(row["modes_covered"] for row in rows), f"{share(min(shares))} to {share(max(shares))}"]
        lines.append((median(fids), cells))
    head = "config | batches | FID, by seed | FID / real-data FID, median | the same by `digit_reader`"
    more = " | modes covered | images per class" if len(lines[0][1]) > 5 else ""
    return markdown(head + more, [line for _, line in sorted(lines)])


def gan() -> str:
    """The table of README.md: means over draws, and one draw where there are no more."""
    lines = []
    draws = grouped(read("fid_draws", classifier="digit_cnn"), "config")
    one = grouped(read("gan_recipes", classifier="digit_cnn"), "config")
    for config, rows in sorted({**one, **draws}.items(), key=lambda item: median(row["fid"] for row in item[1])):
        fid, ratio = (short(median(row[column] for row in rows)) for column in ("fid", "fid_over_real"))
        number = rows[0].get("draws", 1)
        lines.append([f"`{config}`", f"{rows[0]['batches']:,}", len(rows), number, fid, ratio])
    return markdown("config | batches | seeds | draws of images | FID, median of seeds | FID / real-data FID", lines)


FIXES = {
    "textbook": "the textbook recipe",
    "beta": "β₁ of Adam 0.5 instead of 0.9",
    "ema": "… and an EMA of the generator",
    "penalties": "… and R1 and R2 on every 4th batch",
    "relativistic": "… and the relativistic loss",
    "mlp_conv": "`gan.yaml`: other networks, other learning rates",
}


def gan_fixes() -> str:
    lines = []
    for fix, rows in grouped(read("gan_fixes"), "fix").items():
        last = rows[-1]
        digits = str(last["covered_digits"]).split()
        covered = "10" if len(digits) == 10 else f"{len(digits)}: {', '.join(digits)}"
        accuracies = " and ".join(share(last[f"d_accuracy_{kind}"]) for kind in ("real", "fake"))
        lines.append([FIXES[fix], f"{last['fid']:.1f}", f"{last['fid_real']:.2f}", covered, accuracies])
    return markdown("run | FID | real-data FID | modes covered | D's accuracy on real and fake images", lines)


QUARTILES = "median: {median:,.4g} | quartiles: {lower_quartile:,.4g} to {upper_quartile:,.4g}"
RATIO = ("{implementation}, threads: {threads}", "length", "{ratio:.2f}")
MEMORY = ("{implementation}", "length", "{peak_ratio:.2f}")

TABLES: dict[str, Callable[[], str]] = {
    "memory": memory,
    "memory_fixed": memory_fixed,
    "memory_longer": memory_longer,
    "memory_growing": memory_growing,
    "memory_configs": memory_configs,
    "memory_recall": memory_recall,
    "memory_untrained": lambda: formatted(
        "untrained_lengths",
        "length: {length:,} | accuracy: {accuracy:.0%} | seconds: {seconds} | peak memory, MB: {peak_mb:,}",
    ),
    "gan": gan,
    "gan_recipes": lambda: quality("gan_recipes"),
    "gan_long": lambda: quality("gan_long"),
    "gan_draws": lambda: quality("fid_draws"),
    "gan_fixes": gan_fixes,
    "gan_fixes_fid": lambda: pivot("gan_fixes", "FID after batches", "{fix}", "batch", "{fid:.1f}"),
    "gan_speed": lambda: formatted("gan_speed", "program: {program} | quantity: {quantity} | " + QUARTILES),
    "lightning_overhead": lambda: formatted(
        "lightning_overhead", "digits: {length} | quantity: {quantity} | " + QUARTILES
    ),
    "lstm_kernels": lambda: pivot("lstm_kernels", "time of a step, T =", *RATIO),
    "lstm_memory": lambda: pivot("lstm_kernels", "peak memory, T =", *MEMORY, threads=1),
    "scaling_lstm": lambda: formatted(
        "scaling",
        "T = 100, H = 128, B = 128, but: {grows} {value:,} | ms: {ms:,.1f} | peak memory, MB: {peak_mb:,}",
        network="LSTM",
    ),
    "scaling_gan": lambda: pivot(
        "scaling", "ms at batch size", "{network}", "value", "{ms:,.1f}", grows="GAN batch size"
    ),
    "bfloat16": lambda: formatted(
        "bfloat16",
        "networks: {pair} | compiled: {compiled} | precision: {precision} | ms: {ms:.1f}"
        " | first step, seconds: {first_step_seconds}",
    ),
    "processes": lambda: formatted(
        "processes",
        "config: `{experiment}` | one process, ms: {ms_by_1:.1f} | two processes, ms: {ms_by_2:.1f}"
        " | ratio: {ratio:.2f}",
    ),
    "evaluations": lambda: formatted(
        "evaluation_share",
        "config: `{config}` | ms per batch: {ms_per_batch:.1f} | first evaluation, s: {first_evaluation_seconds:.1f}"
        " | later ones, s: {evaluation_seconds:.2f} | share of the run: {share_of_run:.1%}",
    ),
    "explorer": lambda: formatted(
        "explorer_latency",
        "between: {between} | clients: {clients} | median, ms: {median_ms:.0f} | 95th percentile, ms: {p95_ms:.0f}"
        " | wrong answers: {wrong_answers}",
    ),
    "crash_resume": lambda: formatted(
        "crash_resume",
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
            page.write_text(updated(page.read_text()))
        return 0

    return exit_code("benchmarks.docs", run, arguments)


if __name__ == "__main__":
    sys.exit(main())
