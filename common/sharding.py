"""Processes that train one network together, each on its share of every batch.

Rank r of R works on the rows r, r + R, r + 2R, … of the whole batch. A mean over the whole batch is that of the ranks'
means weighted by their numbers of rows, which differ by one where R doesn't divide the batch. So R processes do what
one does, up to rounding:

    ranks = Ranks(rank=1, count=2)
    ranks.of_this_rank(torch.arange(5))  # 1, 3
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain, zip_longest
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from jaxtyping import Float, Shaped
from torch import Tensor

Item = TypeVar("Item")


@dataclass(frozen=True)
class Ranks:
    """Which of how many processes this is. What asks the others has to be called by all of them, at the same place.

    Where there is but one, everything answers at once, and torch's process group needn't be there.
    """

    rank: int = 0
    count: int = 1

    def of_this_rank(self, items: Shaped[Tensor, "batch ..."]) -> Shaped[Tensor, "share ..."]:
        """The rows of a whole batch that this rank works on: every `count`-th.

        Raises:
            ValueError: when there are fewer rows than ranks, which would leave a rank without any.
        """
        if len(items) < self.count:
            raise ValueError(
                f"a batch of {len(items)} can't be shared by {self.count} ranks; choose a batch_size that leaves each "
                "rank at least one row in the last batch of an epoch too, or fewer devices"
            )
        return items[self.rank :: self.count]

    def total(self, number: int) -> int:
        """The sum of all ranks' numbers."""
        if self.count == 1:
            return number
        numbers = torch.tensor(number)
        dist.all_reduce(numbers, group=_on_the_host(dist.group.WORLD))
        return int(numbers)

    def highest(self, number: int) -> int:
        """The highest of all ranks' numbers."""
        if self.count == 1:
            return number
        numbers = torch.tensor(number)
        dist.all_reduce(numbers, dist.ReduceOp.MAX, group=_on_the_host(dist.group.WORLD))
        return int(numbers)

    def mean(self, values: Float[Tensor, "..."]) -> Float[Tensor, ""]:
        """The mean of all ranks' values together; shares of 1 are exactly 1."""
        if self.count == 1:
            return values.mean()
        sums = torch.stack([values.detach().sum(), values.new_tensor(values.numel())])
        dist.all_reduce(sums)
        return sums[0] / sums[1]

    def add_up(self, tensors: Sequence[Tensor], weight: float | Tensor) -> None:
        """Makes each tensor the sum over the ranks of its value times the weight, in place and by one message."""
        if self.count == 1 or not tensors:
            return
        flat = torch.cat([tensor.detach().flatten() for tensor in tensors]) * weight
        dist.all_reduce(flat)
        # By `data`, which autograd doesn't see: it would refuse the backward of another loss through a BatchNorm whose
        # running statistics have changed, though they don't matter to it.
        for tensor, part in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.data.copy_(part.view_as(tensor))

    def together(self, rows: Shaped[Tensor, "share ..."]) -> Shaped[Tensor, "batch ..."]:
        """The rows of all ranks in the order they have in the whole batch, on every rank."""
        if self.count == 1:
            return rows
        total = self.total(len(rows))
        padded = rows.new_zeros(math.ceil(total / self.count), *rows.shape[1:])
        padded[: len(rows)] = rows.detach()
        shares = [torch.empty_like(padded) for _ in range(self.count)]
        dist.all_gather(shares, padded)
        return torch.stack(shares, dim=1).flatten(0, 1)[:total]

    def in_order(self, rows: Sequence[Item]) -> list[Item]:
        """As `together`, of whatever can be pickled."""
        if self.count == 1:
            return list(rows)
        shares: list[Any] = [None] * self.count
        dist.all_gather_object(shares, list(rows), group=_on_the_host(dist.group.WORLD))
        missing = object()
        return [row for row in chain(*zip_longest(*shares, fillvalue=missing)) if row is not missing]


ALONE = Ranks()


@cache
def _on_the_host(world: Any) -> Any:
    """The group for what lies in the CPU's memory, of which NCCL knows nothing; to wait there doesn't stop a GPU."""
    return world if dist.get_backend(world) == "gloo" else dist.new_group(backend="gloo")
