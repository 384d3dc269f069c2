"""The benchmarks of the memory lesson on the smallest possible scale: that they measure what they say, not how much."""

import csv
from pathlib import Path

import pytest

from benchmarks import lightning_overhead, palindrome_batches, palindromes_solved, recall_capacity, untrained_lengths
from benchmarks.palindromes_solved import Case


def rows(table: Path) -> list[dict[str, str]]:
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_batch_of_palindromes_is_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(palindrome_batches, "TABLE", tmp_path / "batches.csv")
    monkeypatch.setattr(palindrome_batches, "LENGTHS", (5, 20))
    monkeypatch.setattr(palindrome_batches, "BATCHES", 3)
    palindrome_batches.main()
    measured = rows(tmp_path / "batches.csv")
    assert [row["length"] for row in measured] == ["5", "20"]
    assert all(0 < float(row["lowest_ms"]) <= float(row["median_ms"]) <= float(row["highest_ms"]) for row in measured)


def test_the_price_of_lightning_is_a_ratio_within_rounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWOFOLD_RUNS", "set anew by the benchmark")
    monkeypatch.setenv("WANDB_MODE", "disabled")
    lightning_overhead.main(tmp_path / "price.csv", lengths=[5], batches=10, rounds=2)
    measured = rows(tmp_path / "price.csv")
    assert [row["what"] for row in measured] == ["twofold fit, ms", "bare loop, ms", "ratio"]
    assert all(float(row["lower_quartile"]) <= float(row["median"]) <= float(row["upper_quartile"]) for row in measured)


def test_a_run_that_is_not_solved_says_so_and_is_not_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    table = tmp_path / "solved.csv"
    hopeless = Case("palindrome_lstm", 5, 1, 100, ("--trainer.max_steps", "10"))
    palindromes_solved.main(table, [hopeless])
    (row,) = rows(table)
    assert (row["config"], row["length"], row["seed"], row["batches"]) == ("palindrome_lstm", "5", "1", "10")
    assert row["solved"] == "False"
    assert float(row["accuracy"]) < 0.9
    before = table.stat().st_mtime_ns
    palindromes_solved.main(table, [hopeless])
    assert table.stat().st_mtime_ns == before


def test_a_run_that_is_solved_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    palindromes_solved.main(tmp_path / "solved.csv", [Case("palindrome_long", 10, 1, 100)])
    (row,) = rows(tmp_path / "solved.csv")
    assert row["solved"] == "True"
    assert float(row["accuracy"]) > 0.9
    assert float(row["seconds"]) > 0


def test_other_lengths_are_asked_in_processes_whose_memory_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    few = ["--trainer.max_steps", "2", "--data.length", "6"]
    untrained_lengths.main(tmp_path / "untrained.csv", lengths=[7, 5000], fit=few)
    measured = rows(tmp_path / "untrained.csv")
    assert [row["length"] for row in measured] == ["7", "5000"]
    assert all(0 <= float(row["accuracy"]) <= 1 for row in measured)
    assert all(50 < int(row["peak_mb"]) < 5000 for row in measured)


def test_recall_is_measured_at_each_position(tmp_path: Path) -> None:
    recall_capacity.main(tmp_path, minutes=0.001, asked=[6, 7])
    answers = rows(tmp_path / "recall_accuracy.csv")
    assert {row["hidden"] for row in answers} == {"64", "128", "256"}
    ours = [(row["length"], row["position"]) for row in answers if row["hidden"] == "64"]
    assert ours == [("6", "4"), ("6", "5"), ("6", "6"), ("7", "5"), ("7", "6"), ("7", "7")]
    assert (tmp_path / "recall_capacity.png").read_bytes().startswith(b"\x89PNG")
    before = (tmp_path / "recall_accuracy.csv").stat().st_mtime_ns
    recall_capacity.main(tmp_path, minutes=0.001, asked=[6, 7])
    assert (tmp_path / "recall_accuracy.csv").stat().st_mtime_ns == before
