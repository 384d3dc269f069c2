"""CSV files with a header, read and written whole."""

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from common.files import replacing

Row = TypeVar("Row", bound=Mapping[str, Any])


def read_rows(table: Path) -> list[dict[str, str]]:
    """The rows, each by its columns' names; none where there is no file."""
    if not table.exists():
        return []
    with table.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write_rows(table: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Makes these the rows, in one step; a column that a row lacks stays empty."""
    with replacing(table) as draft, draft.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def rounded(row: Mapping[str, Any]) -> dict[str, Any]:
    """The same row with four figures of each float, as people read it."""
    return {name: f"{value:.4g}" if isinstance(value, float) else value for name, value in row.items()}


def grouped(rows: Iterable[Row], key: Callable[[Row], Any]) -> dict[Any, list[Row]]:
    """The rows of each value of the key, both in the order in which they come."""
    groups: dict[Any, list[Row]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return groups
