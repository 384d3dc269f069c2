"""The experiment on sequence tasks, on a small scale."""

from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import memory_tasks
from benchmarks.memory_tasks import median_run
from lightning_modules import SequenceModel
from networks.rnn import RNN
from scripts.reporting import sequence_tasks
from scripts.reporting.best_runs import best_rate
from scripts.reporting.sequence_tasks import NETWORKS, TASKS, Training, accuracy, draw_solved, sequences, train
from twofold.tables import read_rows


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("training", ["fixed", "growing", "random"])
def test_every_task_trains_in_every_way(task: str, training: str) -> None:
    module, went = train(Training(task, "RNN latch", training, 1e-2, 1), 3)
    assert went["batches"] == 3
    assert not went["solved"]
    data: Any = module.trainer.datamodule  # type: ignore[attr-defined]
    assert data.shortest == (TASKS[task].start if training == "random" else None)
    assert data.train_length == (TASKS[task].start if training == "growing" else TASKS[task].length)
    assert 0 <= accuracy(module, task, 40, 16) <= 1


def test_a_solved_task_ends_early_and_is_answered() -> None:
    module, went = train(Training("last", "RNN latch", "fixed", 1e-2, 1), 300)
    assert went["solved"]
    assert went["batches"] < 300
    assert accuracy(module, "last", 5000, 16) > 0.9  # read in parts


@pytest.mark.parametrize("network", NETWORKS)
def test_networks_read_the_symbols_of_their_task_and_start_as_they_are_called(network: str) -> None:
    made = SequenceModel(NETWORKS[network](5, 32))
    assert made.classes == 5
    assert made.readout.in_features == 64
    starts = {"latch": "latch", "forget": "forget_log", "update": "update_log", "RoPE": "rope", "ALiBi": "alibi"}
    (start,) = [start for word, start in starts.items() if word in network] or ["torch"]
    assert start == getattr(made.network, "init", getattr(made.network, "positions", "torch"))
    assert getattr(made.network, "horizon", None) == (32 if "log T" in network else None)


@pytest.mark.parametrize("task", TASKS)
def test_test_sequences_are_the_same_for_all_runs(task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    symbols, targets = sequences(task, 40, 8)
    monkeypatch.setenv("PL_GLOBAL_SEED", "7")  # as another run sets it
    again, _ = sequences(task, 40, 8)
    assert torch.equal(symbols, again)
    assert symbols.shape == targets.shape
    assert symbols.shape[1] == 8
    assert 0 <= int(symbols.min()) <= int(symbols.max()) < TASKS[task].symbols
    assert (targets >= 0).any(dim=0).all()


def test_accuracy_counts_answers_where_something_is_asked() -> None:
    module = SequenceModel(RNN(5, 8))
    torch.nn.init.zeros_(module.readout.weight)
    module.readout.bias.data = torch.eye(5)[1]
    targets = sequences("flip_flop", 40, 32)[1]
    assert accuracy(module, "flip_flop", 40, 32) == pytest.approx(float((targets == 1).sum() / (targets >= 0).sum()))


def _rows(*runs: tuple[float, int, bool]) -> list[dict[str, str]]:
    keys = {"task": "last", "network": "LRU", "training": "fixed"}
    return [
        {**keys, "learning_rate": str(rate), "seed": str(seed), "batches": str(n), "solved": str(solved), "T=20": "0.5"}
        for seed, (rate, n, solved) in enumerate(runs)
    ]


def test_the_best_rate_solves_most_seeds_then_soonest() -> None:
    runs = {
        0.1: [(50, True), (50, True), (99, False)],
        0.2: [(60, True), (70, True), (95, True)],
        0.3: [(90, True)] * 3,
    }
    rows = _rows(*((rate, *run) for rate, same in runs.items() for run in same))
    assert best_rate(rows) == 0.2
    assert [text.get_text() for text in draw_solved(rows).axes[0].texts] == ["3 of 3\n70"]


def test_the_median_run_is_a_solved_one_of_the_best_rate() -> None:
    assert median_run(_rows((0.1, 50, True), (0.1, 70, True), (0.1, 90, True))) == Training(
        "last", "LRU", "fixed", 0.1, 1
    )
    assert median_run(_rows((0.1, 50, True), (0.1, 99, False), (0.1, 99, False))) == Training(
        "last", "LRU", "fixed", 0.1, 0
    )
    assert median_run(_rows((0.1, 99, False))) is None


@pytest.mark.parametrize(
    ("task", "network", "batches", "farthest", "rows"),
    [
        ("recall", "S6", 2000, 100_000, 32),
        ("recall", "RNN latch", 5000, 100_000, 32),
        ("parity", "transformer RoPE", 1000, 10_000, 8),
    ],
)
def test_runs_get_their_batches_and_are_tested_far(
    task: str, network: str, batches: int, farthest: int, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    tested = []
    monkeypatch.setattr(memory_tasks, "train", lambda run, most: (None, {"batches": most}))
    monkeypatch.setattr(memory_tasks, "accuracy", lambda module, task, length, rows: tested.append((length, rows)))
    assert memory_tasks.train_far(Training(task, network, "fixed", 1e-2, 1))["batches"] == batches
    assert max(tested) == (farthest, rows)


@pytest.mark.slow
def test_the_experiment_resumes_and_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: dict[str, Any] = {
        "LEARNING_RATES": (1e-2,),
        "SEEDS": (1,),
        "TESTED_LENGTHS": (64,),
        "FAR_LENGTHS": (100, 200),
    }
    kept["MAX_BATCHES"] = {"RNN latch": 60}
    kept["NETWORKS"] = {"RNN latch": NETWORKS["RNN latch"]}
    kept["TASKS"] = {"last": TASKS["last"], "flip_flop": TASKS["flip_flop"]}
    for name, value in kept.items():
        monkeypatch.setattr(memory_tasks, name, value)
    options, table = Namespace(out=tmp_path), tmp_path / "memory_tasks.csv"
    memory_tasks.tasks(options)
    first = read_rows(table)
    assert [row["network"] for row in first] == ["RNN latch"] * 2
    memory_tasks.tasks(options)
    assert read_rows(table) == first
    memory_tasks.lengths(options)
    trainings = sorted(row["training"] for row in read_rows(table))
    assert trainings == ["fixed", "fixed", "growing", "growing", "random", "random"]
    memory_tasks.far(options)
    assert {row["task"] for row in read_rows(tmp_path / "memory_far.csv")} <= {"last", "flip_flop"}
    for name in ("memory_tasks.png", "memory_far.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_the_short_form_keeps_its_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequence_tasks, "SHORT", {"RNN latch": (1e-2, 2)})
    path = tmp_path / "rows.csv"
    (picture,) = sequence_tasks.short(path).pictures
    assert picture.content.startswith(b"\x89PNG")
    rows = read_rows(path)
    assert {row["task"] for row in rows} == {*TASKS}
    monkeypatch.setattr(sequence_tasks, "train", None)
    sequence_tasks.short(path)
    assert read_rows(path) == rows
