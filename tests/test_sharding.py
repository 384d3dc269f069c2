"""What processes that share a batch tell each other: first by one of them alone, then by three of them over gloo."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from hypothesis import given
from hypothesis import strategies as st

from common.sharding import ALONE, Ranks

THREE = 3


def test_one_process_needs_no_group() -> None:
    rows = torch.arange(6.0).view(3, 2)
    assert not dist.is_initialized()
    assert ALONE.of_this_rank(rows).equal(rows)
    assert ALONE.together(rows) is rows
    assert (ALONE.total(5), ALONE.highest(7)) == (5, 7)
    assert ALONE.mean(rows) == 2.5
    assert ALONE.in_order(["a", "b"]) == ["a", "b"]
    ALONE.add_up([rows], 0.5)
    assert rows[0, 1] == 1


@given(rows=st.integers(1, 50), count=st.integers(1, 8))
def test_shares_are_all_of_a_batch_and_differ_by_one_row_at_most(rows: int, count: int) -> None:
    whole = torch.arange(rows)
    if rows < count:
        with pytest.raises(ValueError, match=f"a batch of {rows} can't be shared by {count} ranks"):
            Ranks(0, count).of_this_rank(whole)
        return
    shares = [Ranks(rank, count).of_this_rank(whole) for rank in range(count)]
    assert sorted(torch.cat(shares).tolist()) == list(range(rows))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_three_processes_answer_as_one_would(tmp_path: Path) -> None:
    whole = torch.randn(8, 2, dtype=torch.float64)
    for found in together(_ask, tmp_path, whole):
        assert found["total"] == 8
        assert found["highest"] == 2
        assert found["together"].equal(whole)
        assert found["in order"] == [str(n) for n in range(8)]
        torch.testing.assert_close(found["mean"], whole.mean())
        assert found["all right"] == 1
        torch.testing.assert_close(found["gradient"], 2 * whole.sum(0) / 8)
        assert found["statistics"] == torch.tensor([3.0])


def _ask(ranks: Ranks, whole: torch.Tensor) -> dict[str, Any]:
    rows = ranks.of_this_rank(whole)
    weights = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    (2 * (rows @ weights)).mean().backward()
    statistics = torch.full((1,), 3.0)
    assert weights.grad is not None
    ranks.add_up([weights.grad, statistics], len(rows) / len(whole))
    return {
        "total": ranks.total(len(rows)),
        "highest": ranks.highest(ranks.rank),
        "together": ranks.together(rows),
        "in order": ranks.in_order([str(n) for n in range(ranks.rank, 8, THREE)]),
        "mean": ranks.mean(rows),
        "all right": ranks.mean(torch.ones(len(rows) + 7)),
        "gradient": weights.grad,
        "statistics": statistics,
    }


def together(ask: Callable[..., dict[str, Any]], folder: Path, *arguments: Any) -> list[dict[str, Any]]:
    """What `ask(ranks, *arguments)` returns in each of three processes."""
    mp.start_processes(_in_a_group, (ask, folder, arguments), THREE, start_method="fork")
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(THREE)]


def _in_a_group(rank: int, ask: Callable[..., dict[str, Any]], folder: Path, arguments: tuple[Any, ...]) -> None:
    store = dist.FileStore(str(folder / "store"), THREE)
    dist.init_process_group("gloo", rank=rank, world_size=THREE, store=store, timeout=timedelta(seconds=60))
    torch.save(ask(Ranks(rank, THREE), *arguments), folder / f"{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()
