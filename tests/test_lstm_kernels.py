"""The benchmark of the LSTM's kernels: what it compares is the same, and what it writes is whole."""

import csv
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from benchmarks.lstm_kernels import CONTESTANTS, Row, assert_agreement, contestant, contestants, main, results
from benchmarks.timing import interleaved


def test_eight_linears_are_nn_lstm() -> None:
    reference, x = nn.LSTM(3, 4).double(), torch.randn(7, 5, 3, dtype=torch.float64)
    eight = contestant("eight nn.Linear", reference.state_dict())
    torch.testing.assert_close(eight(x), reference(x), rtol=0, atol=1e-10)
    expected = results(reference, x)
    assert len(expected) == 1 + 16
    torch.testing.assert_close(results(eight, x), expected, rtol=0, atol=1e-10)


def test_contestants_that_disagree_are_not_measured() -> None:
    reference, x = nn.LSTM(3, 4), torch.randn(7, 5, 3)
    networks = contestants(reference.state_dict())
    assert_agreement(networks, x, tolerance=1e-5)
    networks["gates"].get_parameter("bias_hh_l0").data[0] += 0.01
    with pytest.raises(AssertionError, match="gates after 7 steps: output is off by"):
        assert_agreement(networks, x, tolerance=1e-5)


def test_contestants_take_turns_and_warm_up_is_dropped() -> None:
    calls: list[str] = []
    times = interleaved({name: partial(calls.append, name) for name in "abc"}, rounds=2, warm_up=1)
    assert calls == [*"abc", *"bca", *"cab"]
    assert {name: len(own) for name, own in times.items()} == {"a": 2, "b": 2, "c": 2}


def test_table_and_picture_are_written(tmp_path: Path) -> None:
    main(tmp_path, rounds={3: 2, 5: 2}, threads=[1])
    with (tmp_path / "lstm_kernels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == Row._fields
    assert [(row["length"], row["contestant"]) for row in rows] == [(T, name) for T in "35" for name in CONTESTANTS]
    assert all(float(row["ratio"]) == 1 for row in rows if row["contestant"] == "nn.LSTM")
    assert "</svg>" in (tmp_path / "lstm_kernels.svg").read_text()
