"""The shipped palindrome configs, trained in full, solve their task."""

from argparse import Namespace
from pathlib import Path

import pytest

from benchmarks import memory
from benchmarks.memory import STOP, Case
from datamodules.palindromes.worst_cases import CASES
from twofold.tables import grouped, read_rows

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("case", "accuracy"),
    [
        (Case("palindrome_lstm", 20, 2, 10_000, STOP), 0.99),
        (Case("palindrome_long", 1000, 2, 10_000), 0.999),
        (Case("palindrome_recall", 20, 1, 1000), 0.999),
    ],
)
def test_shipped_configs_solve_their_palindromes(
    case: Case, accuracy: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setattr(memory, "CASES", [case])
    memory.solved(Namespace(out=tmp_path))
    rows = read_rows(tmp_path / "palindromes_solved.csv")
    assert len(rows) == case.seeds
    for row in rows:
        assert row["solved"] == "True"
        assert float(row["accuracy"]) >= accuracy


def test_network_trained_on_1000_digits_answers_100_000_in_constant_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setattr(memory, "LENGTHS", [10_000, 100_000])
    monkeypatch.setattr(memory, "SEEDS", [1])
    memory.untrained(Namespace(out=tmp_path))
    short, long = grouped(read_rows(tmp_path / "untrained_lengths.csv"), lambda row: row["length"]).values()
    assert {row["case"] for row in short} == {row["case"] for row in long} == {"uniform", *CASES}
    assert all(row["right"] == row["of"] == "100" for row in [*short, *long])
    assert int(long[0]["peak_mb"]) < 1.1 * int(short[0]["peak_mb"])
