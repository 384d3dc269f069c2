"""How long --help takes, beside what importing Lightning takes: python -m benchmarks.help_times

Writes benchmarks/results/help_times.csv: for `twofold` and every script the seconds of user time (not of waiting) that
a process of one thread takes to answer, median and quartiles over rounds, and the ratio to `import lightning` in the
same round.
"""

import os
import statistics
import subprocess
import sys
from functools import partial
from pathlib import Path

from benchmarks.command import RESULTS, start
from benchmarks.timing import by_turns, quartiles
from twofold.provenance import ROOT
from twofold.tables import write_rows

ROUNDS = 5
YARDSTICK = "import lightning"
TWOFOLD = "import sys; from twofold.main import main; sys.exit(main())"
TABLE = RESULTS / "help_times.csv"


def commands() -> dict[str, list[str]]:
    """The yardstick, and everything else that a person starts, with what Python is given to do it."""
    scripts = sorted(path.stem for path in (ROOT / "scripts").glob("*.py") if "def main(" in path.read_text())
    return {
        YARDSTICK: ["-c", "import lightning"],
        "twofold --help": ["-c", TWOFOLD, "--help"],
        "twofold fit --help": ["-c", TWOFOLD, "fit", "--help"],
        **{f"scripts.{name} --help": ["-m", f"scripts.{name}", "--help"] for name in scripts},
    }


def user_seconds(arguments: list[str]) -> float:
    """The processor's time that Python takes for these arguments, without the system's.

    Raises:
        RuntimeError: when Python fails.
    """
    process = subprocess.Popen(
        [sys.executable, *arguments], cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"python {' '.join(arguments)} ended with {process.returncode}")
    return usage.ru_utime


def main(table: Path = TABLE, rounds: int = ROUNDS) -> None:
    """Measures, prints and writes the table."""
    said = by_turns({name: partial(user_seconds, arguments) for name, arguments in commands().items()}, rounds)
    rows = []
    for name, seconds in said.items():
        lower, median, upper = quartiles(seconds)
        ratio = statistics.median(one / other for one, other in zip(seconds, said[YARDSTICK], strict=True))
        figures = {"seconds": median, "lower": lower, "upper": upper, "ratio": ratio}
        rows.append({"command": name, **{column: f"{figure:.2f}" for column, figure in figures.items()}})
        print(f"{name}: {median:.2f} s, {ratio:.2f} times the import of Lightning")
    write_rows(table, list(rows[0]), rows)


if __name__ == "__main__":
    sys.exit(start("help_times", main, __doc__))
