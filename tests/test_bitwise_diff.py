"""The bitwise comparison of two runs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.bitwise_diff import differences, unequal


def a_run(folder: Path) -> Path:
    """A folder like that of a run."""
    (folder / "images").mkdir(parents=True)
    (folder / "checkpoints").mkdir()
    (folder / "images" / "step_000000.png").write_bytes(b"picture")
    (folder / "metrics.csv").write_text("step,loss\n1,0.5\n")
    (folder / "timing.csv").write_text(folder.name)
    (folder / "run.json").write_text(folder.name)
    state = {"state_dict": {"weight": torch.zeros(2, 3)}, "loops": folder.name, "global_step": 7}
    torch.save(state, folder / "checkpoints" / "last.ckpt")
    return folder


def test_runs_that_differ_only_in_time_and_name_are_equal(tmp_path: Path) -> None:
    assert differences(a_run(tmp_path / "a"), a_run(tmp_path / "b")) == []


def save(folder: Path, **changed: Any) -> None:
    state = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    torch.save({**state, **changed}, folder / "checkpoints" / "last.ckpt")


CHANGES: dict[str, Callable[[Path], object]] = {
    "images/step_000000.png differs": lambda run: (run / "images" / "step_000000.png").write_bytes(b"pictur\0"),
    "metrics.csv is missing": lambda run: (run / "metrics.csv").unlink(),
    "images/other.png is unexpected": lambda run: (run / "images" / "other.png").touch(),
    "checkpoints/last.ckpt: state_dict.weight": lambda run: save(run, state_dict={"weight": torch.full((2, 3), 1e-45)}),
}


@pytest.mark.parametrize("difference", CHANGES)
def test_a_difference_is_named(difference: str, tmp_path: Path) -> None:
    one, other = a_run(tmp_path / "a"), a_run(tmp_path / "b")
    CHANGES[difference](other)
    assert differences(one, other) == [difference]


@pytest.mark.parametrize(
    ("one", "other", "where"),
    [
        ({"a": [torch.zeros(3), 1.0]}, {"a": [torch.zeros(3), 2.0]}, ["a.1"]),
        ({"a": 1}, {"a": 1.0}, ["a"]),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, [""]),
        ([1, 2], [1], [""]),
        (torch.zeros(2), torch.zeros(2, dtype=torch.float64), [""]),
        (torch.zeros(2), torch.zeros(2, 1), [""]),
        (torch.tensor([0.0]), torch.tensor([-0.0]), [""]),
        (torch.tensor([float("nan")]), torch.tensor([float("nan")]), []),
        (float("nan"), float("nan"), []),
        (torch.ones(2, 3).T, torch.ones(3, 2), []),
    ],
)
def test_structures_are_compared_to_the_bit(one: Any, other: Any, where: list[str]) -> None:
    assert list(unequal(one, other)) == where
