"""The study of what makes a memory long: what it crosses, that it is equal for all, and that it can be interrupted."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from matplotlib import pyplot as plt

from callbacks import LengthCurriculum
from datamodules import ChunkedPalindromes
from scripts import memory_horizon
from scripts.memory_horizon import (
    FULL,
    NETWORKS,
    SHORT,
    TESTED_WITH,
    Run,
    Study,
    _best_rate,
    accuracy,
    draw,
    measure,
    network,
    read,
    trained,
)
from twofold.errors import UsageError

TINY = Study(lengths=(2, 3), grown_to=6, rates=(1e-2,), seeds=(1,), batches=2, tested=(2, 3, 6))


def test_everything_is_crossed_with_everything() -> None:
    runs = FULL.runs()
    assert len(runs) == len(set(runs)) == 7 * 6 * 3 * 3
    assert {run.length for run in runs if not run.growing} == {5, 20, 50, 100, 200}
    assert {run.length for run in runs if run.growing} == {1000}
    assert {(run.rate, run.seed) for run in runs} == {(rate, seed) for rate in (1e-3, 3e-3, 1e-2) for seed in (1, 2, 3)}
    assert {run.length for run in SHORT.runs()} == {5, 20, 50}


@pytest.mark.parametrize("name", NETWORKS)
def test_each_network_has_the_same_size_and_the_horizon_of_its_run(name: str) -> None:
    made = network(Run(name, False, 50, 1e-2, 1, 10))
    assert made.hidden_size == 64
    assert getattr(made, "horizon", 50) == 50
    if name == "LSTM forget bias log T":
        bias = made.network.get_parameter("bias_ih_l0")[64:128]
        torch.testing.assert_close(bias, torch.full((64,), 50.0).log())


def test_a_solved_run_ends_early_and_masters_its_length() -> None:
    run = Run("LSTM forget bias log T", True, 8, 1e-2, 1, 600)
    row = trained(run, [8])
    assert row["solved"] is True
    assert row["reached"] == 8
    assert row["batches"] < 600
    assert row["T=8"] > 0.99


def test_accuracy_of_a_network_that_always_says_seven_is_the_share_of_sevens() -> None:
    made = network(Run("RNN as it comes", False, 5, 1e-2, 1, 10))
    torch.nn.init.zeros_(made.readout.weight)
    made.readout.bias.data = torch.eye(10)[7]
    assert 0.05 < accuracy(made, 5) < 0.16
    assert accuracy(made, 5) == accuracy(made, 5)


@pytest.mark.parametrize("name", ["LSTM as it comes", "RNN as it comes"])
def test_accuracy_of_what_is_read_in_chunks_is_that_of_the_whole(name: str) -> None:
    made = network(Run(name, False, 5, 1e-2, 1, 10))
    chunks = list(ChunkedPalindromes(5000, TESTED_WITH, TESTED_WITH, seed=0))
    with torch.no_grad():
        predictions = made(torch.cat([chunk.digits for chunk in chunks], dim=1)).argmax(dim=1)
    assert accuracy(made, 5000) == (predictions == chunks[0].target).float().mean()


@pytest.mark.parametrize(("growing", "start", "rate"), [(False, 1000, 1e-3), (True, 5, 3e-3)])
def test_runs_differ_in_nothing_but_what_is_crossed(
    monkeypatch: pytest.MonkeyPatch, growing: bool, start: int, rate: float
) -> None:
    seen: dict[str, Any] = {}

    class Asked(Exception):
        pass

    def fit(trainer: Any, module: Any, datamodule: Any) -> None:
        (curriculum,) = (callback for callback in trainer.callbacks if isinstance(callback, LengthCurriculum))
        seen.update(start=curriculum.start, patience=curriculum.patience, clip=trainer.gradient_clip_val)
        seen.update(rate=module.configure_optimizers().param_groups[0]["lr"], batch=datamodule.batch_size)
        seen.update(steps=trainer.max_steps)
        raise Asked

    monkeypatch.setattr(Trainer, "fit", fit)
    with pytest.raises(Asked):
        trained(Run("LSTM chrono", growing, 1000, rate, 1, 77), [5])
    assert seen == {"start": start, "patience": 300, "clip": 1.0, "rate": rate, "batch": 64, "steps": 77}


def test_the_best_rate_is_the_best_on_average_and_then_by_the_next_column() -> None:
    measured = [(0.1, 1.0, 9), (0.1, 0.2, 9), (0.2, 0.7, 5), (0.2, 0.7, 5), (0.3, 0.7, 7), (0.3, 0.7, 7)]
    rows = [{"rate": rate, "T=5": at_5, "reached": reached} for rate, at_5, reached in measured]
    assert {row["rate"] for row in _best_rate(rows, "T=5", "reached")} == {0.3}
    assert len(_best_rate(rows, "T=5", "reached")) == 2


def test_a_table_of_another_study_is_refused_and_kept(tmp_path: Path) -> None:
    table = tmp_path / "memory_horizon.csv"
    measure(TINY, table)
    before = table.read_text()
    with pytest.raises(UsageError, match="holds a study that asked at other lengths; move it away"):
        measure(dataclasses.replace(TINY, tested=(2, 3, 6, 12)), table)
    assert table.read_text() == before
    longer = dataclasses.replace(TINY, batches=3)
    measure(longer, table)
    assert {row["batches"] for row in read(table) if row["at_most"] == 3} == {3}


def test_an_interrupted_study_goes_on_where_it_stopped(tmp_path: Path) -> None:
    table = tmp_path / "memory_horizon.csv"
    measure(TINY, table)
    rows = read(table)
    assert len(rows) == len(TINY.runs())
    assert set(rows[0]) == {
        "network",
        "growing",
        "length",
        "rate",
        "seed",
        "at_most",
        "batches",
        "reached",
        "solved",
    } | {
        "T=2",
        "T=3",
        "T=6",
    }
    lines = table.read_text().splitlines(keepends=True)
    table.write_text("".join(lines[:-1]))
    measure(TINY, table)
    assert sorted(table.read_text().splitlines()) == sorted("".join(lines).splitlines())
    figure = draw(read(table))
    titles = [axis.get_title() for axis in figure.axes]
    plt.close(figure)
    assert titles == ["trained at this length", "trained at 3 digits", "length grown from 5 towards 6 digits"]


def test_unknown_options_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert memory_horizon.main(["--shrot"]) == 2
    assert "--shrot" in capsys.readouterr().err
