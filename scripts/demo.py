"""The report in short: both lessons in a few minutes, on digits that ship with a package; writes runs/demo/index.html.

    python -m scripts.demo

Finished runs are not repeated, interrupted ones resume; delete runs/demo to start afresh.
"""

import sys
from collections.abc import Sequence

from scripts.report import make, report_parser
from scripts.reporting.runs import DEMO
from twofold.errors import exit_code


def main(arguments: Sequence[str] | None = None) -> int:
    """Trains, draws and writes the page; returns the exit code."""
    return exit_code("demo", _run, arguments)


def _run(arguments: list[str]) -> int:
    return make(DEMO, report_parser("demo", __doc__).parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
