"""The study of what makes a memory long: what it crosses, that it is equal for all, and that it can be interrupted."""

from pathlib import Path

import pytest
import torch

from scripts import memory_horizon
from scripts.memory_horizon import FULL, NETWORKS, SHORT, Run, Study, accuracy, draw, measure, network, read, trained

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
    made = network(Run(name, False, 50, 1e-2, 1))
    assert made.hidden_size == 64
    assert getattr(made, "horizon", 50) == 50
    if name == "LSTM forget bias log T":
        bias = made.network.get_parameter("bias_ih_l0")[64:128]
        torch.testing.assert_close(bias, torch.full((64,), 50.0).log())


def test_a_solved_run_ends_early_and_masters_its_length() -> None:
    run = Run("LSTM forget bias log T", True, 8, 1e-2, 1)
    row = trained(run, Study((5,), 8, (1e-2,), (1,), 600, (8,)))
    assert row["solved"] is True
    assert row["reached"] == 8
    assert row["batches"] < 600
    assert row["T=8"] > 0.99


def test_accuracy_of_a_network_that_always_says_seven_is_the_share_of_sevens() -> None:
    made = network(Run("RNN as it comes", False, 5, 1e-2, 1))
    torch.nn.init.zeros_(made.readout.weight)
    made.readout.bias.data = torch.eye(10)[7]
    assert 0.05 < accuracy(made, 5) < 0.16
    assert accuracy(made, 5) == accuracy(made, 5)


def test_an_interrupted_study_goes_on_where_it_stopped(tmp_path: Path) -> None:
    table = tmp_path / "memory_horizon.csv"
    measure(TINY, table)
    rows = read(table)
    assert len(rows) == len(TINY.runs())
    assert set(rows[0]) == {"network", "growing", "length", "rate", "seed", "batches", "reached", "solved"} | {
        "T=2",
        "T=3",
        "T=6",
    }
    lines = table.read_text().splitlines(keepends=True)
    table.write_text("".join(lines[:-1]))
    measure(TINY, table)
    assert sorted(table.read_text().splitlines()) == sorted("".join(lines).splitlines())
    draw(read(table), tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_unknown_options_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert memory_horizon.main(["--shrot"]) == 2
    assert "--shrot" in capsys.readouterr().err
