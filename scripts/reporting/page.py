"""The page of a report: figures with their text in one self-contained HTML file."""

import io
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from common.files import replacing
from scripts.plotting import data_uri
from twofold.provenance import ROOT, code_version

TEMPLATES = ROOT / "assets" / "report"
RESULTS = ROOT / "benchmarks" / "results"


class Picture(NamedTuple):
    """A picture as a file.

    Attributes:
        name: file name, which ends in .svg, .png or .gif.
        alt: description for those who can't see it.
        caption: text beneath, where several stand side by side.
    """

    name: str
    content: bytes
    alt: str
    caption: str = ""


class Table(NamedTuple):
    """A table; all columns but the first hold numbers."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""


class Figure(NamedTuple):
    """Pictures and tables under one heading.

    Attributes:
        notes: sentences that depend on how the runs went.
        per_row: pictures side by side.
        origin: where it comes from.
    """

    pictures: Sequence[Picture] = ()
    tables: Sequence[Table] = ()
    notes: Sequence[str] = ()
    per_row: int = 1
    origin: str = ""


def picture_of(main: Callable[[list[str]], int], arguments: Sequence[object], name: str, alt: str) -> Picture:
    """The picture that a script with an option `--out` draws.

    Raises:
        RuntimeError: with the script's message, when it fails.
    """
    printed = io.StringIO()
    with TemporaryDirectory() as folder, redirect_stdout(printed), redirect_stderr(printed):
        path = Path(folder) / name
        if main([*map(str, arguments), "--out", str(path)]):
            raise RuntimeError(printed.getvalue().strip())
        return Picture(name, path.read_bytes(), alt)


def measured(file: str, alt: str) -> Figure:
    """A picture of a benchmark, from `benchmarks/results`."""
    path = RESULTS / file
    return Figure([Picture(file, path.read_bytes(), alt)], origin=f"benchmarks/results/{file}")


def write(path: Path, figures: Mapping[str, Figure], **context: Any) -> None:
    """Writes the page; `context` holds further variables of the template."""
    loader = FileSystemLoader(TEMPLATES)
    environment = Environment(
        loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )
    environment.filters["data_uri"] = lambda picture: data_uri(picture.name, picture.content)
    commit = str(code_version().get("commit", ""))[:7]
    text = environment.get_template("report.html.j2").render(figures=figures, commit=commit, **context)
    with replacing(path) as draft:
        draft.write_text(text, encoding="utf-8")
