"""The report: trains the runs of both lessons and writes one page about them, report/index.html.

    python -m scripts.report                    within 75 minutes on two cores
    python -m scripts.report --full             the textbook recipe trains its 187,600 batches
    python -m scripts.report --only gates       one figure, to report/figures, with the runs it needs

Finished runs, in runs/report, are not repeated; interrupted ones resume. `$TWOFOLD_RUNS` replaces runs.
"""

import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from scripts.digits import open_digits
from scripts.reporting import gan, memory, page, sequence_tasks
from scripts.reporting.page import Figure, measured
from scripts.reporting.runs import DEMO, LENGTHS, NETWORKS, REPORT, Scale, TrainedRun, data_names, memory_name
from scripts.train_runs import train
from twofold.errors import OneLineParser, UsageError, exit_code
from twofold.warning_filters import filter_warnings


class Plan(NamedTuple):
    """How a figure is drawn: the names of its runs, and a function of these runs."""

    jobs: Sequence[str]
    draw: Callable[[Sequence[TrainedRun]], Figure]


GANS = ("textbook", "gan")
FIGURES = {
    **{
        f"curves_T{length}": Plan(
            [memory_name(network, init, length) for network, init, _ in NETWORKS], partial(memory.curves, length=length)
        )
        for length in LENGTHS
    },
    "horizon": Plan([], lambda _: measured("memory_horizon.png", "Accuracy against length for three RNNs, four LSTMs")),
    "gates": Plan(
        [memory_name("lstm", "forget_log", 20), memory_name("rnn", "orthogonal", 20)], partial(memory.gates, length=20)
    ),
    "recall": Plan(["recall"], lambda runs: memory.recall(*runs)),
    "tasks": Plan([], lambda _: sequence_tasks.short(DEMO.runs / "sequence_tasks.csv")),
    "grids": Plan(GANS, gan.grids),
    "learning": Plan(GANS, gan.learning),
    "quality": Plan(GANS, gan.quality),
    "morphs": Plan(["gan"], lambda runs: gan.morphs(*runs)),
    "kernels": Plan([], lambda _: measured("lstm_kernels.svg", "Time and memory of a step of four LSTMs")),
}
"""The figures by the names that `--only` takes, in the order of the page."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Trains, draws and writes the page; returns the exit code."""
    return exit_code("report", _run, arguments)


def _run(arguments: list[str]) -> int:
    parser = report_parser("report", __doc__)
    parser.add_argument("--full", action="store_true", help="train the textbook recipe for 187,600 batches, not 18,760")
    parser.add_argument("--root", help="the folder that holds MNIST/raw, by default data")
    options = parser.parse_args(arguments)
    scale = replace(REPORT, command=f"{REPORT.command} --full", textbook_batches=187_600) if options.full else REPORT
    return make(scale, options)


def report_parser(name: str, description: str | None) -> OneLineParser:
    """A parser of the options of `report` and `demo`."""
    parser = OneLineParser(prog=f"python -m scripts.{name}", description=description)
    parser.add_argument("--only", metavar="FIGURE", help=f"one of {', '.join(FIGURES)}")
    return parser


def make(scale: Scale, options: Namespace) -> int:
    """Makes the page, or one figure of it; prints where it is and returns the exit code.

    Raises:
        UsageError: when there is no such figure, or no MNIST under the given root.
    """
    filter_warnings()
    if options.only not in (None, *FIGURES):
        raise UsageError(f"--only {options.only} is not a figure; write one of {', '.join(FIGURES)}")
    plans = {name: plan for name, plan in FIGURES.items() if options.only in (None, name)}
    needed = {name for plan in plans.values() for name in plan.jobs}
    root = getattr(options, "root", None)
    source = scale.source
    if needed & {*GANS}:
        found = open_digits(root or "data", "torchvision" if root else source).data_source
        source = "packaged" if found == "packaged" else "torchvision"
    jobs = [job for job in scale.jobs(source, root) if job.name in needed]
    runs = train(jobs, scale.runs)
    trained = {job.name: TrainedRun(job, runs[job.name]) for job in jobs}

    figures = {}
    for name, plan in plans.items():
        used = [trained[job] for job in plan.jobs]
        figure = plan.draw(used)
        origin = figure.origin or f"runs {', '.join(plan.jobs)}; trained on {data_names(used)}"
        figures[name] = figure._replace(origin=origin)
        for picture in figure.pictures:
            path = scale.folder / "figures" / picture.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(picture.content)
            if options.only:
                print(path)
    if options.only:
        for table in figures[options.only].tables:
            print("\n".join("  ".join(row) for row in (table.columns, *table.rows)))
        return 0
    index = scale.folder / "index.html"
    page.write(index, figures, scale=scale, runs=list(trained.values()))
    print(f"open {index.absolute()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
