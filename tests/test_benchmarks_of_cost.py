"""The benchmarks of what steps cost on the smallest possible scale: that they measure what they say, not how much."""

import csv
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
import torch

from benchmarks import bfloat16, processes, scaling
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


def test_milliseconds_are_read_off_a_short_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "twofold", lambda *_: None)
    monkeypatch.setattr(processes, "seconds_after", lambda _: {10: 1.0, 20: 1.9, 30: 2.0})
    assert processes.milliseconds_per_batch(Path("gan.yaml"), first=10, last=30) == pytest.approx(50)


def test_two_processes_are_timed_beside_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[object, ...]] = []

    def tell(config: Path, *arguments: object) -> float:
        asked.append((config.stem, *arguments))
        return {1: 8.0, 2: 10.0}[int(str(arguments[-1]))] + len(asked)

    monkeypatch.setattr(processes, "milliseconds_per_batch", tell)
    monkeypatch.setattr(processes, "EXPERIMENTS", {"dcgan": ("--data.source", "packaged")})
    processes.main(tmp_path / "processes.csv", rounds=2)
    [row] = rows(tmp_path / "processes.csv")
    assert [words[-1] for words in asked] == [1, 2, 2, 1]
    assert asked[0][:3] == ("dcgan", "--data.source", "packaged")
    assert (row["ms_by_1"], row["ms_by_2"], row["ratio"]) == ("9", "12", "1.333")


def test_sixteen_bits_are_compared_with_thirty_two_within_each_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured_in = bfloat16._turn_in
    milliseconds: dict[ProcessPoolExecutor, float] = {}

    def slower_and_slower(process: ProcessPoolExecutor, seconds: float) -> float:
        assert measured_in(process, seconds) > 0
        milliseconds[process] = 2 * milliseconds.get(process, 10.0 - len(milliseconds))
        return milliseconds[process]

    monkeypatch.setattr(bfloat16, "_turn_in", slower_and_slower)
    bfloat16.main(tmp_path, pairs=["mlp"], ways=[False], seconds=0)
    measured = rows(tmp_path / "bfloat16.csv")
    assert [(row["bfloat16"], row["ratio"]) for row in measured] == [
        ("nowhere", "1.00"),
        ("products", "0.90"),
        ("everywhere", "0.80"),
    ]
    assert {row["compiled"] for row in measured} == {"False"}


def test_the_networks_of_a_step_compute_in_the_bits_that_are_asked_for() -> None:
    made: list[torch.dtype] = []
    hook = torch.nn.modules.module.register_module_forward_hook(
        lambda module, _, output: made.append(output.dtype) if isinstance(module, torch.nn.Linear) else None
    )
    try:
        scaling.game_step("mlp", 2, bfloat16=True)()
        assert set(made) == {torch.bfloat16}
        made.clear()
        scaling.game_step("mlp", 2, products="medium")()
        assert set(made) == {torch.float32}
    finally:
        hook.remove()


def test_memory_that_is_filled_is_seen() -> None:
    megabytes = 300
    assert peak_growth(lambda: torch.ones(megabytes * 10**6, dtype=torch.uint8)) > megabytes / 2
