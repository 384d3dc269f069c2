"""The order of the batches, such that a run that was killed and resumed sees the ones it would have seen.

A shuffling `DataLoader` draws each order from the global generator, so a resumed run sees other batches. Here batch k,
counted over the whole run, is a function of k, and how far the run has come is all there is to remember:

    stream = BatchStream(lambda k: f"batch {k}", batches_per_epoch=2)
    list(stream)  # batch 0, batch 1
    list(stream)  # batch 2, batch 3
"""

import math
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Generic, TypedDict, TypeVar

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from common.seeding import derive

Batch = TypeVar("Batch")


class StreamState(TypedDict):
    """What a checkpoint keeps of a `BatchStream`: the batch that comes next, counted from the start of the run."""

    next_batch: int


class BatchStream(Generic[Batch]):
    """The training loader: each pass goes on where the last one stopped, for as many batches as an epoch has.

    It has a length because Lightning draws a loader without one a batch ahead, and the state it saves would then be
    one batch off.

    Args:
        make_batch: gives batch k of the run from k and nothing else.
        batches_per_epoch: how many batches one pass yields.
        next_batch: where to start.
    """

    def __init__(self, make_batch: Callable[[int], Batch], batches_per_epoch: int, next_batch: int = 0) -> None:
        self.make_batch = make_batch
        self.batches_per_epoch = batches_per_epoch
        self.next_batch = next_batch

    def __len__(self) -> int:
        return self.batches_per_epoch

    def __iter__(self) -> Iterator[Batch]:
        # A generator reads the counter when its first batch is wanted, not when Lightning calls iter(), which it does
        # before resuming has settled where it stands. A pass counts its batches rather than stop at the next multiple
        # of batches_per_epoch: with limit_train_batches Lightning's epochs are shorter and end anywhere.
        for _ in range(self.batches_per_epoch):
            batch = self.make_batch(self.next_batch)
            # Before the yield, so that a state taken while the batch is used says that it was handed out.
            self.next_batch += 1
            yield batch

    def state_dict(self) -> StreamState:
        return {"next_batch": self.next_batch}

    def load_state_dict(self, state: StreamState) -> None:
        self.next_batch = state["next_batch"]


class EvaluationBatches(Generic[Batch]):
    """The loader for validation, test and predict: every pass yields the same batches, 0 to `number_of_batches` − 1."""

    def __init__(self, make_batch: Callable[[int], Batch], number_of_batches: int) -> None:
        self.make_batch = make_batch
        self.number_of_batches = number_of_batches

    def __len__(self) -> int:
        return self.number_of_batches

    def __iter__(self) -> Iterator[Batch]:
        return map(self.make_batch, range(self.number_of_batches))


def count_batches(size: int, batch_size: int) -> int:
    """How many batches `size` items make; the last one may be short."""
    return math.ceil(size / batch_size)


def in_order(size: int, batch_size: int, k: int) -> Int[Tensor, " batch"]:
    """Which of `size` items make up batch k of a pass in their own order."""
    return torch.arange(size)[k * batch_size :][:batch_size]


def shuffled(size: int, batch_size: int, seed: int, k: int) -> Int[Tensor, " batch"]:
    """Which of `size` items make up batch k of a run whose epochs each take all of them once, in an order of their own.

    The last batch of an epoch holds what is left, so it may be short.
    """
    epoch, position = divmod(k, count_batches(size, batch_size))
    return _epoch_order(size, seed, epoch)[position * batch_size :][:batch_size]


def philox(seed: int, *key: int | str) -> np.random.Generator:
    """A random stream of its own for each (seed, key). NumPy's, since torch's on the CPU starts from only 32 bits."""
    return np.random.Generator(np.random.Philox(key=derive(seed, *key)))


@lru_cache(maxsize=4)
def _epoch_order(size: int, seed: int, epoch: int) -> Int[Tensor, " size"]:
    return torch.from_numpy(philox(seed, "epoch order", epoch).permutation(size))
