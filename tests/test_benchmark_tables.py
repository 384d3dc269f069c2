"""The tables in benchmarks/results and the pages that show them."""

from pathlib import Path

import pytest

from benchmarks import docs
from benchmarks.results import Results
from benchmarks.tables import table
from twofold.tables import read_rows


def test_the_tables_of_all_pages_are_up_to_date() -> None:
    stale = [page.name for page in docs.PAGES if docs.updated(page.read_text()) != page.read_text()]
    assert not stale, "run `make docs`"


def test_tables_are_written_between_markers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- table: crash_resume -->\nold\n<!-- end -->\nafter\n")
    assert docs.main([str(page)]) == 0
    text = page.read_text()
    assert text.startswith("before\n<!-- table: crash_resume -->\n| experiment |")
    assert text.endswith("|\n<!-- end -->\nafter\n")
    page.write_text("<!-- table: nothing -->\n<!-- end -->")
    assert docs.main([str(page)]) == 2
    assert "there is no table nothing; write one of memory, " in capsys.readouterr().err


def test_groups_are_lines_and_heads_are_columns() -> None:
    rows = [
        {"net": "b", "T": 5, "ms": 2.0, "ok": True},
        {"net": "a", "T": 5, "ms": 1.0, "ok": True},
        {"net": "a", "T": 5, "ms": 4.0, "ok": False},
        {"net": "b", "T": 9, "ms": 3.0, "ok": False},
    ]
    written = table(rows, "net", "net: `{net}` | T = {T}: {ms:.0f} | median: {ms.median:.1f} | ok: {ok}", "ms")
    assert written.splitlines() == [
        "| net | T = 5 | T = 9 | median | ok |",
        "|---|---|---|---|---|",
        "| `a` | 1 to 4 | – | 2.5 | 1 of 2 |",
        "| `b` | 2 | 3 | 2.5 | 1 of 2 |",
    ]
    assert table([], "net", "net: `{net}`") == ""


def test_a_row_replaces_the_one_with_its_key(tmp_path: Path) -> None:
    path = tmp_path / "new" / "table.csv"
    for fid in (1.23456, 2.0):
        Results(path, "config", "seed").add({"config": "gan", "seed": 1, "fid": fid})
    results = Results(path, "config", "seed")
    results.add({"config": "gan", "seed": 2, "fid": 3.0, "kid": 4})
    assert (
        results.rows
        == read_rows(path)
        == [
            {"config": "gan", "seed": "1", "fid": "2", "kid": ""},
            {"config": "gan", "seed": "2", "fid": "3", "kid": "4"},
        ]
    )
    assert Results(path, "config", "seed").has(config="gan", seed=2)
