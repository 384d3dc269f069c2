"""The best of several learning rates, from the rows of trained networks."""

from collections.abc import Mapping, Sequence
from statistics import mean, median_low

from twofold.tables import grouped

Row = Mapping[str, str]


def by_pair(rows: Sequence[Row]) -> dict[tuple[str, str], list[Row]]:
    """The runs at a fixed length of each (task, network)."""
    fixed = [row for row in rows if row["training"] == "fixed"]
    return grouped(fixed, lambda row: (row["task"], row["network"]))


def best_rate(rows: Sequence[Row]) -> float:
    """The learning rate that solves most seeds; at a tie the one with the fewest batches or the highest accuracy."""

    def quality(same: Sequence[Row]) -> tuple[int, float, float]:
        batches = median_low(int(row["batches"]) for row in same)
        return sum(row["solved"] == "True" for row in same), -batches, mean(map(_accuracy, same))

    rates = grouped(rows, lambda row: float(row["learning_rate"]))
    return float(max(rates, key=lambda rate: quality(rates[rate])))


def at_best_rate(rows: Sequence[Row]) -> list[Row]:
    """The runs of a pair at its best rate, one for each seed."""
    best = best_rate(rows)
    return [row for row in rows if float(row["learning_rate"]) == best]


def _accuracy(row: Row) -> float:
    """The accuracy at the training length, which is the shortest that is tested."""
    lengths = [int(name[2:]) for name, value in row.items() if name.startswith("T=") and value]
    return float(row[f"T={min(lengths)}"])
