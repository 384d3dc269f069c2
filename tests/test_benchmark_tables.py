"""The tables in benchmarks/results and the pages that show them."""

from pathlib import Path

import pytest

from benchmarks import docs
from benchmarks.results import Results
from twofold.errors import UsageError
from twofold.tables import read_rows


def test_the_tables_of_all_pages_are_up_to_date() -> None:
    stale = [page.name for page in docs.PAGES if docs.updated(page.read_text()) != page.read_text()]
    assert not stale, "run `make docs`"


@pytest.mark.parametrize("name", docs.TABLES)
def test_every_table_has_as_many_cells_in_each_line(name: str) -> None:
    lines = docs.TABLES[name]().splitlines()
    assert len(lines) > 2
    assert len({line.count("|") for line in lines}) == 1


def test_tables_are_written_between_markers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- table: processes -->\nold\n<!-- end -->\nafter\n")
    assert docs.main([str(page)]) == 0
    text = page.read_text()
    assert text.startswith("before\n<!-- table: processes -->\n| config |")
    assert text.endswith("|\n<!-- end -->\nafter\n")
    page.write_text("<!-- table: nothing -->\n<!-- end -->")
    assert docs.main([str(page)]) == 2
    assert "there is no table nothing; write one of memory, " in capsys.readouterr().err


def test_a_row_replaces_the_one_with_its_key(tmp_path: Path) -> None:
    path = tmp_path / "new" / "table.csv"
    for fid in (1.23456, 2.0):
        Results(path, "config", "seed").add({"config": "gan", "seed": 1, "fid": fid})
    Results(path, "config", "seed").add({"config": "gan", "seed": 2, "fid": 3.0, "kid": 4})
    assert read_rows(path) == [
        {"config": "gan", "seed": "1", "fid": "2", "kid": ""},
        {"config": "gan", "seed": "2", "fid": "3", "kid": "4"},
    ]
    results = Results(path, "config", "seed")
    assert results.has(config="gan", seed=2)
    assert not results.has(config="gan", seed=3)


def test_rows_that_do_not_compare_are_refused(tmp_path: Path) -> None:
    results = Results(tmp_path / "table.csv", "config")
    results.add({"config": "gan", "data_source": "packaged"})
    results.refuse_other(data_source="packaged")
    with pytest.raises(UsageError, match="holds rows with data_source packaged, which don't compare with torchvision"):
        results.refuse_other(data_source="torchvision")
