"""The tables in benchmarks/results: how a benchmark adds its rows, and how it sees which are there.

table = Results(folder / "gan_long.csv", "config", "seed", "classifier")
if not table.has(config="gan_long", seed=1):
    table.add({"config": "gan_long", "seed": 1, "classifier": "digit_cnn", "fid": 4.1})
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twofold.errors import UsageError
from twofold.provenance import ROOT
from twofold.tables import read_rows, rounded, write_rows

RESULTS = ROOT / "benchmarks" / "results"


class Results:
    """A CSV file with one row per measurement.

    Args:
        path: of the file. It is made with the first row.
        key: the columns that tell measurements apart. A new row replaces the one with the same key.
    """

    def __init__(self, path: Path, *key: str) -> None:
        self.path, self.key = path, key
        self._rows = {self._key_of(row): row for row in read_rows(path)}

    @property
    def rows(self) -> list[dict[str, str]]:
        return list(self._rows.values())

    def has(self, **columns: object) -> bool:
        """Whether a row holds these values."""
        return any(all(row[name] == str(value) for name, value in columns.items()) for row in self.rows)

    def add(self, *rows: Mapping[str, Any], quiet: bool = False) -> None:
        """Prints the rows, with four digits of each number, and writes the file. A column that a row lacks is empty."""
        for row in rows:
            new = {name: str(value) for name, value in rounded(row).items()}
            self._rows[self._key_of(new)] = new
            if not quiet:
                print(", ".join(f"{name} {value}" for name, value in new.items()), flush=True)
        columns = dict.fromkeys(name for row in self.rows for name in row)
        self._rows = {key: {name: row.get(name, "") for name in columns} for key, row in self._rows.items()}
        if columns:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_rows(self.path, list(columns), self.rows)

    def refuse_other(self, **columns: object) -> None:
        """Refuses rows that can't be compared with new ones, such as those of `data_source="packaged"`.

        Raises:
            UsageError: when a row holds another value.
        """
        for name, value in columns.items():
            for row in self.rows:
                if row.get(name) != str(value):
                    raise UsageError(
                        f"{self.path} holds rows with {name} {row.get(name)}, which don't compare with {value}; "
                        "move it away or write another --out"
                    )

    def _key_of(self, row: Mapping[str, str]) -> tuple[str, ...]:
        return tuple(row[name] for name in self.key)
