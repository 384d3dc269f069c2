"""Runs are killed at random moments, many times over."""

import csv
from pathlib import Path

import pytest

from benchmarks import crash_resume
from twofold.provenance import ROOT

EARLY = "4"
"""The seed by which the first kill of palindrome_lstm comes after an eighth of its start, on quick machines, too."""


@pytest.mark.slow
def test_sixty_kills_leave_no_trace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "soak.csv"
    assert crash_resume.main(["--kills", "60"], table) == 0, capsys.readouterr().out
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["experiment"] for row in rows} == set(crash_resume.EXPERIMENTS)
    assert sum(int(row["kills"]) for row in rows) >= 60
    assert all(int(row["runs"]) >= 1 and row["differences"] == "0" for row in rows)
    assert sum(int(row["while starting"]) for row in rows) <= 30, "most kills hit a training"


def test_every_shipped_experiment_is_soaked() -> None:
    shipped = {path.stem for path in (ROOT / "configs").glob("*.yaml")}
    # A classifier is trained like the other, and the long game like the short one.
    assert set(crash_resume.EXPERIMENTS) == shipped - {"base", "digit_reader", "gan_long"}


def test_a_kill_in_the_start_begins_anew_and_one_difference_fails_the_soak(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crash_resume, "WHILE_STARTING", 1)
    monkeypatch.setattr(crash_resume, "differences", lambda *_: ["metrics.csv differs"])
    table = tmp_path / "soak.csv"
    monkeypatch.setitem(crash_resume.EXPERIMENTS, "palindrome_lstm", "--trainer.max_steps 30")
    one_kill = ["--kills", "1", "--seed", EARLY, "--experiments", "palindrome_lstm"]
    assert crash_resume.main(one_kill, table) == 1
    with table.open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["kills"], row["while starting"]) == ("1", "1")
    assert row["which"] == "metrics.csv differs"
