"""The benchmarks of what steps cost on the smallest possible scale: that they measure what they say, not how much."""

import csv
from pathlib import Path

import pytest
import torch

from benchmarks import bfloat16, scaling
from benchmarks.memory import peak_growth


def rows(table: Path) -> list[dict[str, str]]:
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


def test_one_thing_grows_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "GROWING", {"length": (3, 5), "hidden_size": (4,), "batch_size": (2,)})
    monkeypatch.setattr(scaling, "MIDDLE", {"length": 3, "hidden_size": 4, "batch_size": 2})
    monkeypatch.setattr(scaling, "BATCHES", (2,))
    monkeypatch.setattr(scaling, "PAIRS", {"mlp": scaling.PAIRS["mlp"]})
    scaling.main(tmp_path, seconds=0)
    measured = rows(tmp_path / "scaling.csv")
    assert [(row["network"], row["grows"], row["value"]) for row in measured] == [
        ("LSTM", "length", "3"),
        ("LSTM", "length", "5"),
        ("LSTM", "hidden_size", "4"),
        ("LSTM", "batch_size", "2"),
        ("mlp", "batch_size", "2"),
    ]
    assert all(float(row["ms"]) > 0 and float(row["peak_mb"]) >= 0 for row in measured)
    assert (tmp_path / "scaling.png").exists()


def test_sixteen_bits_are_compared_with_thirty_two(tmp_path: Path) -> None:
    bfloat16.main(tmp_path, pairs=["mlp"], ways=[False], seconds=0)
    measured = rows(tmp_path / "bfloat16.csv")
    assert [(row["compiled"], row["bfloat16"]) for row in measured] == [("False", "False"), ("False", "True")]
    assert measured[0]["ratio"] == "1.00"
    assert float(measured[1]["ratio"]) == pytest.approx(float(measured[1]["ms"]) / float(measured[0]["ms"]), abs=0.02)


def test_the_networks_of_a_step_compute_in_the_bits_that_are_asked_for() -> None:
    made: list[torch.dtype] = []
    hook = torch.nn.modules.module.register_module_forward_hook(
        lambda module, _, output: made.append(output.dtype) if isinstance(module, torch.nn.Linear) else None
    )
    try:
        scaling.game_step("mlp", 2, bfloat16=True)()
        assert set(made) == {torch.bfloat16}
        made.clear()
        scaling.game_step("mlp", 2)()
        assert set(made) == {torch.float32}
    finally:
        hook.remove()


def test_memory_that_is_filled_is_seen() -> None:
    megabytes = 300
    assert peak_growth(lambda: torch.ones(megabytes * 10**6, dtype=torch.uint8)) > megabytes / 2
