"""Runs that are killed many times at random moments end with the same bits."""

from pathlib import Path

import pytest

from benchmarks import crash_resume
from twofold.provenance import ROOT
from twofold.tables import read_rows

EARLY = "4"
"""With this seed palindrome_lstm is first killed after an eighth of its start."""


def run(*arguments: str, out: Path) -> int:
    return crash_resume.main([*arguments, "--out", str(out)])


@pytest.mark.slow
def test_runs_killed_sixty_times_end_with_the_same_bits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--kills", "60", out=tmp_path) == 0, capsys.readouterr().out
    rows = read_rows(tmp_path / "crash_resume.csv")
    assert {row["experiment"] for row in rows} == set(crash_resume.EXPERIMENTS)
    assert sum(int(row["kills"]) for row in rows) >= 60
    assert all(int(row["runs"]) >= 1 and row["differences"] == "0" for row in rows)
    assert sum(int(row["kills_while_starting"]) for row in rows) <= 30


def test_all_kinds_of_shipped_experiments_are_killed() -> None:
    shipped = {path.stem for path in (ROOT / "configs").glob("*.yaml")}
    # digit_reader trains like digit_classifier, the other sequence tasks like flip_flop.
    alike = {
        "base",
        "digit_reader",
        "gan_conditional",
        "gan_folder",
        "gan_long",
        "gan_stacked",
        "r3gan",
        "induction",
        "parity",
        "recall",
    }
    assert set(crash_resume.EXPERIMENTS) == shipped - alike


@pytest.mark.slow
def test_difference_exits_with_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crash_resume, "KILLS_WHILE_STARTING", 1)
    monkeypatch.setattr(crash_resume, "differences", lambda *_: ["metrics.csv differs"])
    monkeypatch.setitem(crash_resume.EXPERIMENTS, "palindrome_lstm", "--trainer.max_steps 30")
    with pytest.raises(SystemExit, match="1"):
        run("--kills", "1", "--seed", EARLY, "--experiments", "palindrome_lstm", out=tmp_path)
    (row,) = read_rows(tmp_path / "crash_resume.csv")
    assert (row["kills"], row["kills_while_starting"], row["where"]) == ("1", "1", "metrics.csv differs")
