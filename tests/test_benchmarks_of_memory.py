"""The memory benchmarks on a small scale."""

import math
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from matplotlib import pyplot as plt

from benchmarks import memory, memory_horizon
from benchmarks.memory_horizon import Run, all_runs, best_rate, draw, train_run
from callbacks import LengthCurriculum
from lightning_modules import PalindromeLSTM
from twofold.tables import read_rows


@pytest.mark.parametrize(("growing", "start", "rate"), [(False, 1000, 1e-3), (True, 5, 3e-3)])
@pytest.mark.parametrize("name", ["RNN identity", "LSTM forget bias log T"])
def test_runs_differ_only_in_what_is_compared(
    monkeypatch: pytest.MonkeyPatch, name: str, growing: bool, start: int, rate: float
) -> None:
    def fit(trainer: Any, module: Any, datamodule: Any) -> None:
        (curriculum,) = (callback for callback in trainer.callbacks if isinstance(callback, LengthCurriculum))
        assert (curriculum.start, trainer.gradient_clip_val) == (start, 1.0)
        assert module.configure_optimizers().param_groups[0]["lr"] == rate
        assert (datamodule.batch_size, module.network.hidden_size, trainer.max_steps) == (64, 64, 77)
        if name == "LSTM forget bias log T":
            bias = module.network.get_parameter("bias_ih_l0")[64:128]
            torch.testing.assert_close(bias, torch.full((64,), math.log(1000)))

    monkeypatch.setattr(Trainer, "fit", fit)
    train_run(Run(name, growing, 1000, rate, 1, 77), [5])


def test_a_solved_run_ends_early() -> None:
    row = train_run(Run("LSTM forget bias log T", True, 8, 1e-2, 1, 600), [8])
    assert (row["solved"], row["length_reached"]) == (True, 8)
    assert row["batches"] < 600
    assert row["T=8"] > 0.99


def test_a_run_that_does_not_grow_ends_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_horizon, "PATIENCE", 7)
    row = train_run(Run("RNN default", True, 100, 0.0, 1, 20), [5])
    assert (row["batches"], row["length_reached"]) == (7, 5)


def test_accuracy_in_chunks_is_that_of_a_constant_answer() -> None:
    module = PalindromeLSTM(hidden_size=8)
    torch.nn.init.zeros_(module.readout.weight)
    module.readout.bias.data = torch.eye(10)[7]
    assert 0.05 < memory_horizon.accuracy(module, 5000) < 0.16


def test_the_best_rate_is_best_on_average_then_by_length_reached() -> None:
    measured = [(0.1, 1.0, 9), (0.1, 0.2, 9), (0.2, 0.7, 5), (0.2, 0.7, 5), (0.3, 0.7, 7), (0.3, 0.7, 7)]
    rows = [{"learning_rate": str(lr), "T=5": str(at_5), "length_reached": str(n)} for lr, at_5, n in measured]
    assert [row["learning_rate"] for row in best_rate(rows, 5)] == ["0.3", "0.3"]


@pytest.mark.slow
def test_an_interrupted_study_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = {"LENGTHS": (2, 3), "GROWN_TO": 6, "LEARNING_RATES": (1e-2,), "SEEDS": (1,), "MAX_BATCHES": 2}
    for name, value in {**study, "TESTED_LENGTHS": (2, 3, 6)}.items():
        monkeypatch.setattr(memory_horizon, name, value)
    table = tmp_path / "memory_horizon.csv"
    memory_horizon.horizon(Namespace(out=tmp_path))
    whole = table.read_text()
    assert len(read_rows(table)) == len(all_runs()) == 25
    table.write_text("".join(whole.splitlines(keepends=True)[:-2]))
    memory_horizon.horizon(Namespace(out=tmp_path))
    assert sorted(table.read_text().splitlines()) == sorted(whole.splitlines())
    assert (tmp_path / "memory_horizon.png").read_bytes().startswith(b"\x89PNG")
    plt.close(draw(read_rows(table)))


def test_a_latch_is_solved_in_few_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_horizon, "LATCH_LENGTH", 20)
    row = memory_horizon.train_latch(memory_horizon.LatchRun(3.0, 1.0, 64, 1))
    assert row["solved"]
    assert row["batches"] < 60
    assert row["T=20"] > 0.98


def test_recall_is_tested_at_each_position() -> None:
    mastered, accuracies = memory.train_recall(8, minutes=0.001, lengths=[6, 7])
    assert mastered == {}
    assert [len(shares) for shares in accuracies.values()] == [3, 3]
