"""The batch stream and the base datamodule: a resumed run sees the batches that the uninterrupted run would see.

A shuffling `DataLoader` draws each epoch's order from the global generator, so a resumed run sees other batches. Here
batch k, counted over the whole run, is a function of (arguments, seed, k), and a checkpoint stores only the seed and
the number of the next batch:

    stream = BatchStream(lambda k: f"batch {k}", batches_per_epoch=2)
    list(stream)  # batch 0, batch 1
    list(stream)  # batch 2, batch 3
"""

import math
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from typing import Any, Generic, TypedDict, TypeVar

import numpy as np
import torch
from jaxtyping import Int, Shaped
from lightning.pytorch import LightningDataModule
from torch import Tensor

from common.seeding import derive, run_seed
from common.sharding import shard
from networks.saved_arguments import SavedArguments

Batch = TypeVar("Batch")


class StreamState(TypedDict):
    """What a checkpoint stores of a `BatchStream`: the number of the next batch, counted from the start of the run."""

    next_batch: int


class BatchStream(Generic[Batch]):
    """The training loader. Each pass continues where the last one stopped and yields `batches_per_epoch` batches.

    It has a length because Lightning prefetches one batch from a loader without one, and the saved state would then be
    off by one batch.

    Args:
        make_batch: returns batch k of the run; depends on k alone.
        batches_per_epoch: number of batches in one pass.
        next_batch: number of the first batch.
    """

    def __init__(self, make_batch: Callable[[int], Batch], batches_per_epoch: int, next_batch: int = 0) -> None:
        self.make_batch = make_batch
        self.batches_per_epoch = batches_per_epoch
        self.next_batch = next_batch

    def __len__(self) -> int:
        return self.batches_per_epoch

    def __iter__(self) -> Iterator[Batch]:
        # A generator reads the counter at its first batch. Lightning calls iter() earlier, before it restores the
        # state. A pass counts its own batches, because with limit_train_batches epochs end at any batch number.
        for _ in range(self.batches_per_epoch):
            batch = self.make_batch(self.next_batch)
            # Before the yield, so that a state saved while the batch is in use counts it.
            self.next_batch += 1
            yield batch

    def state_dict(self) -> StreamState:
        return {"next_batch": self.next_batch}

    def load_state_dict(self, state: StreamState) -> None:
        self.next_batch = state["next_batch"]


class SeedState(TypedDict):
    """What a checkpoint stores of a datamodule."""

    seed: int


class ResumableDataModule(SavedArguments, LightningDataModule):  # type: ignore[misc]
    """A LightningDataModule whose training batch k is a function of (arguments, seed, k).

    Subclasses derive batches from `self.seed` at the moment they are needed, because the checkpoint's seed arrives only
    after `setup()`. The batch size is that of the whole run: each rank makes all rows of a batch and keeps its own.
    """

    def __init__(self) -> None:
        super().__init__()
        self._seed: int | None = None

    @property
    def seed(self) -> int:
        """The seed of `lightning.seed_everything`, else one drawn at first use. All ranks have the same."""
        if self._seed is None:
            seed = run_seed()
            self._seed = self.trainer.strategy.broadcast(seed) if self.trainer else seed
        return self._seed

    def state_dict(self) -> SeedState:  # type: ignore[override]
        return {"seed": self.seed}

    def load_state_dict(self, state_dict: SeedState) -> None:  # type: ignore[override]
        match state_dict:
            case {"seed": int(seed)}:
                self._seed = seed
            case _:
                raise ValueError(f"the checkpoint has no seed for {type(self).__name__}; it is from another datamodule")

    def restore(self, checkpoint: dict[str, Any], strict: bool | None) -> None:
        if state := checkpoint.get(type(self).__qualname__):
            self.load_state_dict(state)

    def shard(self, rows: Shaped[Tensor, "batch ..."]) -> Shaped[Tensor, "rows ..."]:
        """Returns this rank's rows of a global batch, see `common.sharding`.

        For a GPU they are in page-locked memory, from which they are copied while the CPU goes on.

        Raises:
            ValueError: when there are fewer rows than ranks.
        """
        if self.trainer is None:
            return rows
        own = shard(rows, self.trainer.global_rank, self.trainer.world_size)
        return own.contiguous().pin_memory() if self.trainer.strategy.root_device.type == "cuda" else own

    def train_stream(self, make_batch: Callable[[int], Batch], batches_per_epoch: int) -> BatchStream[Batch]:
        """The training loader over `make_batch`, at the trainer's current batch (at batch 0 without a trainer).

        With `overfit_batches` it repeats the first batches.
        """
        if self.trainer is None:
            return BatchStream(make_batch, batches_per_epoch)
        if period := _overfit_period(self.trainer.overfit_batches, batches_per_epoch):  # type: ignore[attr-defined]
            make_batch = partial(_repeat, make_batch, period)
        # Lightning restores a loader's state only when it resumes within an epoch, and makes new loaders with
        # reload_dataloaders_every_n_epochs. Its count of batches is right in both cases.
        return BatchStream(make_batch, batches_per_epoch, next_batch=self.trainer.fit_loop.total_batch_idx + 1)


class EvaluationBatches(Generic[Batch]):
    """The loader for validation, test and predict. Every pass yields the same batches, 0 to `number_of_batches` − 1."""

    def __init__(self, make_batch: Callable[[int], Batch], number_of_batches: int) -> None:
        self.make_batch = make_batch
        self.number_of_batches = number_of_batches

    def __len__(self) -> int:
        return self.number_of_batches

    def __iter__(self) -> Iterator[Batch]:
        return map(self.make_batch, range(self.number_of_batches))


def count_batches(size: int, batch_size: int) -> int:
    """The number of batches that `size` items make; the last one may be short."""
    return math.ceil(size / batch_size)


def in_order(size: int, batch_size: int, k: int) -> Int[Tensor, " batch"]:
    """The indices of batch k of a pass over `size` items in order."""
    return torch.arange(size)[k * batch_size :][:batch_size]


def shuffled(size: int, batch_size: int, seed: int, k: int, batches: int | None = None) -> Int[Tensor, " batch"]:
    """The indices of batch k of a run. Each epoch takes every item once, in a new order.

    Args:
        batches: of an epoch. By default all that the items make, of which the last may be short.
    """
    epoch, position = divmod(k, count_batches(size, batch_size) if batches is None else batches)
    return _epoch_order(size, seed, epoch)[position * batch_size :][:batch_size]


def philox(seed: int, *key: int | str) -> np.random.Generator:
    """An independent random stream for each (seed, key). NumPy's, because torch uses only 32 bits of a CPU seed."""
    return np.random.Generator(np.random.Philox(key=derive(seed, *key)))


@lru_cache(maxsize=4)
def _epoch_order(size: int, seed: int, epoch: int) -> Int[Tensor, " size"]:
    return torch.from_numpy(philox(seed, "epoch order", epoch).permutation(size))


def _overfit_period(overfit_batches: int | float, batches_per_epoch: int) -> int:
    """The number of batches that `overfit_batches` (a number, or a fraction of the epoch) selects; 0 when it is off."""
    if isinstance(overfit_batches, int):
        return min(overfit_batches, batches_per_epoch)
    return int(overfit_batches * batches_per_epoch)


def _repeat(make_batch: Callable[[int], Batch], period: int, k: int) -> Batch:
    return make_batch(k % period)
