"""Markdown tables of the rows in benchmarks/results, with a line for each group of rows."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.results import RESULTS
from twofold.tables import grouped, read_rows

Row = dict[str, Any]


def read(name: str, **columns: tuple[object, ...]) -> list[Row]:
    """The rows of a CSV file with one of these values in each column, with numbers as numbers."""
    rows = map(values_of, read_rows(RESULTS / f"{name}.csv"))
    return [row for row in rows if all(row[column] in values for column, values in columns.items())]


def values_of(row: Mapping[str, str]) -> Row:
    return {column: _value(text) for column, text in row.items()}


def _value(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return {"True": True, "False": False}.get(text, text)


def table(rows: Sequence[Row], by: str, columns: str, order: str = "") -> str:
    """A Markdown table with a line for each group of rows.

    Args:
        rows: of CSV files.
        by: names of columns, separated by spaces. Rows with the same values in them are a group.
        columns: format strings for the head and the cells of each column, such as "length: {length:,} | ms: {ms:.1f}".
            A head with fields, such as "T = {length:,}", makes a column for each of its values. The fields of cells are
            `Values`.
        order: the name of a column. Groups are sorted by its lowest value, by default they come as in the file.

    Without rows it is empty.
    """
    groups = grouped(rows, lambda row: tuple(row[name] for name in by.split()))
    lines: list[list[str]] = [[], *([] for _ in groups)]
    ordered = sorted(groups.values(), key=lambda group: min(row[order] for row in group) if order else 0)
    for head, cell in (column.split(": ", 1) for column in columns.split(" | ")):
        for text in grouped(rows, head.format_map):
            lines[0].append(text)
            for line, group in zip(lines[1:], ordered, strict=True):
                own = [row for row in group if head.format_map(row) == text]
                values = {name: Values(row[name] for row in own) for name in group[0]}
                line.append(cell.format_map(values) if own else "–")
    if not rows:
        return ""
    first, *others = [f"| {' | '.join(line)} |" for line in lines]
    return "\n".join([first, "|---" * len(lines[0]) + "|", *others]) + "\n"


class Values(list[Any]):
    """The values of a column in a group, for format strings.

    `{ms:.1f}` is the value, "lowest to highest" if rows differ, and "2 of 3" if two of three are True.
    `{ms.median:.1f}` is the median; `min`, `max`, `mean` and `n` (how many) work alike.
    """

    min = property(min)
    max = property(max)
    mean = property(statistics.mean)
    median = property(statistics.median)
    n = property(len)

    def __format__(self, spec: str) -> str:
        if isinstance(self[0], bool):
            return f"{sum(self)} of {len(self)}"
        return " to ".join(dict.fromkeys(format(value, spec) for value in (min(self), max(self))))
