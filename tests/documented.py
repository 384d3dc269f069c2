"""The pages and the commands in them, for the tests of the documentation."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
FOLLOWED = sorted((ROOT / "docs").glob("add_a_*.md"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r'^```(\w*)(?: (title|append)="(\S+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced block; `file` is to be created (`action` is title) or extended (append)."""

    language: str
    action: str
    file: str
    text: str


def blocks(page: Path, language: str | None = None) -> list[Block]:
    found = (Block(*match) for match in BLOCK.findall(page.read_text()))
    return [block for block in found if language in (None, block.language)]


def commands(page: Path) -> Iterator[str]:
    """The commands of a page's `sh` blocks, each in one line and without comments."""
    for block in blocks(page, "sh"):
        lines = block.text.replace("\\\n", " ").splitlines()
        yield from filter(None, (line.partition("  #")[0].strip() for line in lines))


def inline_commands(page: Path) -> Iterator[str]:
    """The commands within a page's sentences."""
    prose = BLOCK.sub("", page.read_text())
    yield from re.findall(r"`((?:make|python -m|twofold \w+) [^`]+)`", prose)
