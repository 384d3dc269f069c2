"""The benchmarks of speed and memory: that they measure what they say, not how much."""

import subprocess
from argparse import Namespace
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import busy, command, lstm_kernels, speed, timing
from benchmarks.timing import peak_growth
from datamodules import MNISTDataModule
from twofold.tables import read_rows


@pytest.mark.parametrize(("wish", "expected"), [(None, "3"), ("5", "5")])
def test_commands_have_as_many_threads_as_their_benchmark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wish: str | None, expected: str
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if wish is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", wish)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    monkeypatch.setattr(subprocess, "Popen", lambda *_, env, **__: env)
    environment: Any = command.launch(tmp_path, "fit", WANDB_MODE="disabled")
    assert environment["OMP_NUM_THREADS"] == expected
    assert (environment["TWOFOLD_RUNS"], environment["WANDB_MODE"]) == (str(tmp_path), "disabled")


def test_peak_growth_sees_memory_that_is_filled() -> None:
    assert peak_growth(lambda: torch.ones(300 * 10**6, dtype=torch.uint8)) > 150


def test_all_kernels_are_measured_and_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lstm_kernels, "in_new_process", lambda work, *arguments: work(*arguments))
    monkeypatch.setattr(lstm_kernels, "ROUNDS", {3: 2, 5: 2})
    monkeypatch.setattr(lstm_kernels, "THREADS", [1])
    lstm_kernels.kernels(Namespace(out=tmp_path))
    rows = read_rows(tmp_path / "lstm_kernels.csv")
    names = ["nn.LSTM", "equations", "manual", "native", "auto"]
    assert [(row["length"], row["implementation"]) for row in rows] == [(T, name) for T in "35" for name in names]
    assert all(float(row["ratio"]) == 1 for row in rows if row["implementation"] == "nn.LSTM")
    assert "</svg>" in (tmp_path / "lstm_kernels.svg").read_text()


def test_manual_is_compared_with_native_at_all_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lstm_kernels, "SIZES", (2**16,))
    monkeypatch.setattr(lstm_kernels, "SIZE_ROUNDS", 2)
    lstm_kernels.sizes(Namespace(out=tmp_path))
    rows = read_rows(tmp_path / "lstm_sizes.csv")
    assert len({(row["batch_size"], row["hidden"]) for row in rows}) == 4 * 5
    assert {row["kernel"] for row in rows if float(row["ratio"]) != 1} == {"manual"}


def test_linear_recurrence_is_measured_at_three_batch_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lstm_kernels, "RECURRENT_STEPS", 4)
    lstm_kernels.recurrence(Namespace(out=tmp_path))
    rows = read_rows(tmp_path / "linear_recurrence.csv")
    assert {row["batch_size"] for row in rows} == {"1", "8", "64"}
    assert {row["kernel"] for row in rows if float(row["ratio"]) != 1} == {"manual", "chunked"}


def test_speeds_are_compared_within_rounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = {"twofold fit": [10.0, 30.0], "plain loop": [20.0, 30.0], "PyTorch-GAN": [5.0, 10.0]}

    def measured(trainings: Mapping[str, object], rounds: int) -> dict[str, list[float]]:
        return {name: batches.get(name, [1.0, 1.0])[:rounds] for name in trainings}

    monkeypatch.setattr(speed, "batches_per_second", measured)
    monkeypatch.setattr(speed, "peer_script", lambda _: b"")
    assert speed.main(["gan", "--source", "packaged", "--out", str(tmp_path), "--peer", "somewhere"]) == 0
    rows = {(row["program"], row["quantity"]): float(row["median"]) for row in read_rows(tmp_path / "gan_speed.csv")}
    assert len(rows) == 2 * 5
    assert rows["twofold fit", "images per second"] == 64 * 20
    assert rows["plain loop", "twofold fit / this"] == 0.75
    assert rows["PyTorch-GAN", "twofold fit / this"] == 2.5


def test_plain_loops_train(tmp_path: Path) -> None:
    MNISTDataModule(tmp_path, "packaged").prepare_data()
    for config in ("gan_template", "gan"):
        assert all(
            loss.isfinite().all() for loss in islice(speed.gan_loop(str(tmp_path), "packaged", "cpu", config), 2)
        )
    assert all(loss.isfinite() for loss in islice(speed.palindrome_loop(5), 2))


def test_batches_beside_a_busy_program_are_compared_with_idle_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = {(1, busy.IDLE): [20.0, 30.0], (1, busy.START): [40.0, 30.0], (1, busy.MIDDLE): [20.0, 30.0]}
    times |= {(2, busy.IDLE): [10.0, 10.0], (2, busy.START): [90.0, 70.0], (2, busy.MIDDLE): [50.0, 50.0]}
    called: list[str] = []

    def measured(programs: Mapping[str, partial[float]], rounds: int) -> dict[str, list[float]]:
        called.extend(str(each.args[1]) for each in programs.values())
        return {name: times[each.args[-2:]] for name, each in programs.items()}

    monkeypatch.setattr(busy, "interleaved", measured)
    monkeypatch.setattr(busy, "usable_cores", lambda: 2)
    for _ in range(2):  # what is there is not measured again
        assert busy.main(["--source", "packaged", "--root", str(tmp_path), "--out", str(tmp_path)]) == 0
    assert called == [*["gan_loop"] * 12, *["palindrome_loop"] * 6]
    rows = [row for row in read_rows(tmp_path / "busy_machine.csv") if row["network"] == "gan"]
    medians = {(row["threads"], row["situation"]): float(row["median"]) for row in rows}
    assert medians == {("1", busy.IDLE): 25, ("1", busy.START): 35, ("1", busy.MIDDLE): 25} | {
        ("2", busy.IDLE): 10,
        ("2", busy.START): 80,
        ("2", busy.MIDDLE): 50,
    }
    assert [float(row["over_idle"]) for row in rows] == [1, 1.5, 1, 1, 8, 5]
    assert [float(row["over_fastest_idle"]) for row in rows] == [2.5, 3.5, 2.5, 1, 8, 5]


@pytest.mark.parametrize("situation", [busy.IDLE, busy.START, busy.MIDDLE])
def test_a_busy_program_runs_only_while_it_should(situation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(busy, "SECONDS", 0.02)
    monkeypatch.setattr(busy, "WARM_UP", 0.01)
    started: list[subprocess.Popen[str]] = []
    train = busy.train

    def observed(*arguments: Any) -> float:
        running.append(sum(each.poll() is None for each in started))
        return train(*arguments)

    class Observed(subprocess.Popen[str]):
        def __init__(self, *arguments: Any, **more: Any) -> None:
            super().__init__(*arguments, **more)
            started.append(self)

    running: list[int] = []
    monkeypatch.setattr(busy, "train", observed)
    monkeypatch.setattr(subprocess, "Popen", Observed)
    assert 0 < busy.ms_per_batch("palindrome_loop", (3,), 1, situation) < 10_000
    assert running == {busy.IDLE: [0, 0], busy.START: [1, 1], busy.MIDDLE: [0, 1, 1]}[situation]
    assert all(each.poll() is not None for each in started)


@pytest.mark.slow
def test_runs_and_the_plain_loop_train_in_their_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setattr(timing, "WARM_UP", 10)
    monkeypatch.setattr(speed, "batches_per_second", partial(timing.batches_per_second, turns=1, seconds=1))
    arguments = ["gan", "--root", str(tmp_path), "--source", "packaged", "--out", str(tmp_path), "--rounds", "2"]
    assert speed.main(arguments) == 0
    rows = [row for row in read_rows(tmp_path / "gan_speed.csv") if row["quantity"] == "images per second"]
    assert len(rows) == 4
    assert all(float(row["median"]) > 64 for row in rows)


def test_starting_is_measured_beside_the_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    times = {"python": [5.0, 4.0, 6.0], "twofold": [6.0, 5.5, 7.0]}
    calls: list[Sequence[str]] = []

    def seconds(command: Sequence[str], runs: str) -> float:
        calls.append(command)
        return times[command[0]][sum(each == command for each in calls) - 1]

    monkeypatch.setattr(speed, "seconds", seconds)
    assert speed.main(["start", "--out", str(tmp_path), "--rounds", "2"]) == 0
    rows = {row["command"]: row for row in read_rows(tmp_path / "start_up.csv")}
    assert list(rows) == [
        *("import lightning", "twofold fit", "twofold fit without W&B"),
        *("twofold runs", "twofold --help"),
    ]
    assert (rows["twofold fit"]["fastest"], rows["twofold fit"]["fastest_minus_import"]) == ("5.5", "1.5")
    assert float(rows["import lightning"]["median"]) == 5


def test_commands_are_timed_in_a_folder_of_their_own(tmp_path: Path) -> None:
    assert 0 < speed.seconds(("twofold", "--help"), str(tmp_path)) < 60
