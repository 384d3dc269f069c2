"""Sharding of batches: the rows of each rank, and collectives over three processes."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from common.sharding import all_gather, all_gather_objects, average_batchnorm_statistics, shard, sum_over_ranks

RANKS = 3


@given(rows=st.integers(1, 50), ranks=st.integers(1, 8))
def test_shards_partition_a_batch_evenly(rows: int, ranks: int) -> None:
    batch = torch.arange(rows)
    if rows < ranks:
        with pytest.raises(ValueError, match=f"a batch of {rows} can't be split over {ranks} processes"):
            shard(batch, 0, ranks)
        return
    shards = [shard(batch, rank, ranks) for rank in range(ranks)]
    assert sorted(torch.cat(shards).tolist()) == list(range(rows))
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


def test_one_process_needs_no_process_group() -> None:
    rows, norm = torch.randn(3, 2), nn.BatchNorm1d(2)
    norm(rows)
    before = {name: each.clone() for name, each in norm.named_buffers()}
    average_batchnorm_statistics(norm)
    assert all(each.equal(before[name]) for name, each in norm.named_buffers())
    assert not dist.is_initialized()
    assert all_gather(rows) is rows
    assert sum_over_ranks(5) == 5
    assert all_gather_objects(["a", "b"]) == ["a", "b"]


def test_collectives_restore_the_global_batch(tmp_path: Path) -> None:
    batch = torch.randn(8, 2)
    mp.start_processes(_collect, (tmp_path, batch), RANKS, start_method="fork")
    for rank in range(RANKS):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert found["rows"].equal(batch)
        assert found["objects"] == [str(n) for n in range(8)]
        assert found["sum"] == 8
        assert found["mean"].equal(torch.full((2,), 1.0))
        assert found["var"].equal(torch.full((2,), 2.0))


def _collect(rank: int, folder: Path, batch: torch.Tensor) -> None:
    store = dist.FileStore(str(folder / "store"), RANKS)
    dist.init_process_group("gloo", rank=rank, world_size=RANKS, store=store, timeout=timedelta(seconds=60))
    rows, norm = shard(batch, rank, RANKS), nn.BatchNorm1d(2)
    for statistic, value in ((norm.running_mean, rank), (norm.running_var, rank + 1)):
        assert statistic is not None
        statistic.fill_(value)
    average_batchnorm_statistics(nn.Sequential(norm, nn.BatchNorm1d(3, track_running_stats=False)))
    found: dict[str, Any] = {
        "rows": all_gather(rows),
        "objects": all_gather_objects([str(n) for n in range(rank, 8, RANKS)]),
        "sum": sum_over_ranks(len(rows)),
        "mean": norm.running_mean,
        "var": norm.running_var,
    }
    torch.save(found, folder / f"{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()
