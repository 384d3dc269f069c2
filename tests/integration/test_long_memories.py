"""The shipped configs do what the README says: trained in full, seed by seed, as `twofold fit` does it."""

import csv
from pathlib import Path

import pytest

from benchmarks import palindromes_solved, untrained_lengths
from benchmarks.palindromes_solved import STOP, Case

pytestmark = pytest.mark.slow


def rows(table: Path) -> list[dict[str, str]]:
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("case", "least"),
    [
        (Case("palindrome_lstm", 20, 2, 10_000, STOP), 0.99),
        (Case("palindrome_long", 1000, 2, 10_000), 0.999),
        (Case("palindrome_recall", 20, 1, 1000), 0.999),
    ],
)
def test_shipped_configs_solve_their_palindromes(
    case: Case, least: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    palindromes_solved.main(tmp_path / "solved.csv", [case])
    for row in rows(tmp_path / "solved.csv"):
        assert row["solved"] == "True"
        assert float(row["accuracy"]) >= least


def test_a_network_trained_at_1000_digits_names_the_last_of_100_000_in_the_memory_of_10_000(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    untrained_lengths.main(tmp_path / "untrained.csv", lengths=[10_000, 100_000])
    short, long = rows(tmp_path / "untrained.csv")
    assert float(short["accuracy"]) == float(long["accuracy"]) == 1
    assert int(long["peak_mb"]) < 1.1 * int(short["peak_mb"])
