"""Sharding of batches over the processes ("ranks") that train one network together.

Rank r of R processes the rows r, r + R, r + 2R, … of the global batch:

    shard(torch.arange(5), rank=1, world_size=2)  # 1, 3

The collectives below must be called by all ranks at the same place. In a single process they return at once and need no
process group.
"""

from collections.abc import Sequence
from functools import cache
from itertools import chain, zip_longest
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from jaxtyping import Shaped
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

Item = TypeVar("Item")


def shard(rows: Shaped[Tensor, "batch ..."], rank: int, world_size: int) -> Shaped[Tensor, "rows ..."]:
    """Returns the rows of a global batch that belong to `rank`.

    Raises:
        ValueError: when there are fewer rows than ranks.
    """
    if len(rows) < world_size:
        raise ValueError(
            f"a batch of {len(rows)} can't be split over {world_size} processes; choose a batch_size that leaves each "
            "of them at least one row in the last batch of an epoch too, or fewer devices"
        )
    return rows[rank::world_size]


def sum_over_ranks(number: int) -> int:
    """Returns the sum of the ranks' numbers."""
    if _world_size() == 1:
        return number
    total = torch.tensor(number)
    dist.all_reduce(total, group=_cpu_group(dist.group.WORLD))
    return int(total)


def all_gather(rows: Shaped[Tensor, "rows ..."]) -> Shaped[Tensor, "batch ..."]:
    """Returns the rows of all ranks in the order of the global batch, detached from the graph."""
    if _world_size() == 1:
        return rows
    total = sum_over_ranks(len(rows))
    padded = rows.new_zeros(-(-total // _world_size()), *rows.shape[1:])  # ranks differ by one row at most
    padded[: len(rows)] = rows.detach()
    shards = [torch.empty_like(padded) for _ in range(_world_size())]
    dist.all_gather(shards, padded)
    return torch.stack(shards, dim=1).flatten(0, 1)[:total]


def all_gather_objects(items: Sequence[Item]) -> list[Item]:
    """Returns the items of all ranks in the order of the global batch; they must be picklable."""
    if _world_size() == 1:
        return list(items)
    shards: list[Any] = [None] * _world_size()
    dist.all_gather_object(shards, list(items), group=_cpu_group(dist.group.WORLD))
    missing = object()
    return [item for item in chain(*zip_longest(*shards, fillvalue=missing)) if item is not missing]


def average_batchnorm_statistics(*networks: nn.Module) -> None:
    """Replaces the running statistics of each BatchNorm by their mean over the ranks, each of which saw other rows."""
    if _world_size() == 1:
        return
    layers = [layer for network in networks for layer in network.modules() if isinstance(layer, _BatchNorm)]
    statistics = [each for layer in layers for each in (layer.running_mean, layer.running_var) if each is not None]
    if not statistics:
        return
    flat = torch.cat(statistics)
    dist.all_reduce(flat)
    for each, mean in zip(statistics, (flat / _world_size()).split([len(each) for each in statistics]), strict=True):
        each.copy_(mean)


def _world_size() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


@cache
def _cpu_group(world: Any) -> Any:
    """A group for tensors in CPU memory, which NCCL doesn't support; waiting for it doesn't stall the GPU."""
    return world if dist.get_backend(world) == "gloo" else dist.new_group(backend="gloo")
