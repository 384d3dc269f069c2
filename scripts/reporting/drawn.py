"""What a figure of the report is made of, before it stands on a page."""

from collections.abc import Sequence
from typing import NamedTuple


class Picture(NamedTuple):
    """A picture as the bytes of a file.

    Attributes:
        name: of the file; ends in .svg, .png or .gif.
        alt: what is to be seen, for those who can't see it.
        caption: a few words beneath it, where several stand side by side.
    """

    name: str
    content: bytes
    alt: str
    caption: str = ""


class Table(NamedTuple):
    """Rows of text; from column `numbers_from` on they are numbers, which stand to the right."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers_from: int = 1
    title: str = ""


class Drawn(NamedTuple):
    """What was drawn for a figure.

    Attributes:
        notes: what is to be said of it that depends on how the runs went.
        measured_from, measured_by: where it shows a benchmark's results, of which file at which commit, and the command
            that wrote it.
        per_row: pictures side by side.
    """

    pictures: Sequence[Picture] = ()
    tables: Sequence[Table] = ()
    notes: Sequence[str] = ()
    measured_from: str = ""
    measured_by: str = ""
    per_row: int = 1
