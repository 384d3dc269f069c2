"""The report in short: both lessons in a few minutes, on data that ships with a package, in runs/demo/index.html.

    python -m scripts.demo

Finished runs are not repeated and an interrupted one goes on; delete runs/demo to start afresh.
"""

import sys
from collections.abc import Sequence

from scripts.report import make, parser_of_reports
from scripts.reporting.scale import DEMO
from twofold.errors import exit_code


def main(arguments: Sequence[str] | None = None) -> int:
    """Trains what isn't trained yet and writes the page; returns the exit code."""
    return exit_code("demo", _run, arguments)


def _run(arguments: list[str]) -> int:
    return make(DEMO, parser_of_reports("demo", __doc__).parse_args(arguments).only)


if __name__ == "__main__":
    sys.exit(main())
