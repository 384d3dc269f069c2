"""The pages and the commands that stand in them. Not a test."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [*DOCS, ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
FOLLOWED = sorted((ROOT / "docs").glob("add_a_*.md"))
"""By tests/integration/test_adding.py, command by command."""

NEEDS = {
    ". .venv/bin/activate": "what `make setup` installs, which takes a package index",
    "wandb leet runs": "a terminal",
    "sbatch": "SLURM",
}
"""How commands begin that are parsed and not run, and what they need. All others are run, shortened."""


def blocks(page: Path, kind: str) -> list[str]:
    """What stands in a page's blocks of a kind, such as `sh`."""
    return re.findall(rf"^```{kind}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def commands(page: Path) -> Iterator[str]:
    """Those of its `sh` blocks, each in one line and without the comment behind it."""
    for block in blocks(page, "sh"):
        yield from filter(None, (line.partition("  #")[0].strip() for line in block.replace("\\\n", " ").splitlines()))


def mentioned(page: Path) -> Iterator[str]:
    """Those within its sentences and tables, where a module of ours alone stands for `python -m` and it."""
    prose = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for command in re.findall(r"`((?:make|python -m|pip install) [^`]+|twofold \w+ [^`]+)`", prose):
        yield command.replace(" … ", " FILE ")
    for module in re.findall(r"`((?:benchmarks|scripts)\.\w+)`", prose):
        yield f"python -m {module}"


MENTIONED = sorted({command for page in PAGES for command in mentioned(page)})
"""Each is parsed, and what it starts is run by some test, but not as it stands there: many take an hour."""

ALL_COMMANDS = [(page.name, command) for page in PAGES if page not in FOLLOWED for command in commands(page)]


def need(command: str) -> str | None:
    """How it begins, if it is one that can't be run."""
    return next((beginning for beginning in NEEDS if command.startswith(beginning)), None)
