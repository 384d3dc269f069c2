"""The report: trains what it needs, draws it, and makes one page of it, report/index.html, and the same as a PDF.

    python -m scripts.report                    within 75 minutes on two cores
    python -m scripts.report --full             the textbook recipe runs its 200 epochs
    python -m scripts.report --only gates       one figure, to report/figures, from the runs it needs

Training and drawing are separate: finished runs, in runs/report, are not repeated, one that was
broken off goes on. `$TWOFOLD_RUNS` stands for another folder than runs.
"""

import sys
from collections.abc import Sequence

from scripts.bar import shown
from scripts.reporting.figures import figures
from scripts.reporting.page import print_to_pdf, write, write_pictures
from scripts.reporting.scale import FULL, REPORT, Scale, jobs
from scripts.trained_jobs import digits_read, train
from twofold.errors import OneLineParser, UsageError, exit_code
from twofold.warning_filters import filter_warnings

PACKAGED = (
    "report: THE GAMES ARE PLAYED WITH 5,000 PACKAGED DIGITS INSTEAD OF MNIST; to have it, end this, move {runs} away "
    "and write --root and the folder that holds MNIST/raw"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Trains, draws and writes the page; returns the exit code, 2 when something the user wrote is wrong."""
    return exit_code("report", _run, arguments)


def _run(arguments: list[str]) -> int:
    parser = parser_of_reports("report", __doc__)
    parser.add_argument(
        "--full", action="store_true", help="the textbook recipe runs 187,600 batches instead of 18,760"
    )
    parser.add_argument("--root", help="the folder that holds MNIST/raw, by default data")
    wanted = parser.parse_args(arguments)
    return make(FULL if wanted.full else REPORT, wanted.only, wanted.root)


def parser_of_reports(name: str, description: str | None) -> OneLineParser:
    """Takes what every report takes."""
    parser = OneLineParser(prog=f"python -m scripts.{name}", description=description)
    parser.add_argument("--only", metavar="FIGURE", help=f"just this one: {', '.join(figures(REPORT))}")
    return parser


def make(scale: Scale, only: str | None, root: str | None = None) -> int:
    """Makes the report, or `only` one figure of it; prints where it is and returns the exit code.

    Args:
        root: the folder that holds MNIST/raw; None: data.

    Raises:
        UsageError: when there is no such figure, or no MNIST under a given root.
    """
    filter_warnings()
    all_figures, all_jobs = figures(scale), jobs(scale)
    if only is not None and only not in all_figures:
        raise UsageError(f"--only {only} is no figure; write one of {', '.join(all_figures)}")
    chosen = all_figures if only is None else {only: all_figures[only]}
    needed = {name for figure in chosen.values() for name in figure.jobs}
    todo = [job for name, job in all_jobs.items() if name in needed]
    if scale.source == "auto" and "packaged" in digits_read(todo, scale.runs, root):
        print(PACKAGED.format(runs=scale.runs), file=sys.stderr)
    with shown(sum(job.batches for job in todo), len(chosen)) as bar:
        runs = train(todo, scale.runs, root, bar)
        drawn, used = {}, {}
        for name, figure in chosen.items():
            bar.drawing(name)
            used[name] = [runs[job] for job in figure.jobs]
            drawn[name] = figure.draw(used[name])
    pictures = [path for one in drawn.values() for path in write_pictures(one.pictures, scale.folder)]
    if only is not None:
        print("\n".join([*map(str, pictures), *drawn[only].notes]))
        for table in drawn[only].tables:
            print("\n".join("  ".join(row) for row in [table.columns, *table.rows]))
        return 0
    page = write(scale, drawn, used, runs.values())
    printed = print_to_pdf(page)
    print(f"open {page.absolute()}")
    print(printed.absolute() if printed else "no PDF: that takes a Chromium on the PATH which can print")
    return 0


if __name__ == "__main__":
    sys.exit(main())
