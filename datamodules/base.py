"""What both datamodules share: a seed that the checkpoint keeps, batches split among ranks, and a resumable stream."""

from collections.abc import Callable
from typing import Any, NoReturn, TypedDict

from jaxtyping import Shaped
from lightning.pytorch import LightningDataModule
from torch import Tensor

from common.seeding import run_seed
from common.sharding import ALONE, Ranks
from datamodules.resumable import Batch, BatchStream


class SeedState(TypedDict):
    """What a checkpoint keeps of a datamodule."""

    seed: int


class ResumableDataModule(LightningDataModule):
    """A LightningDataModule whose training batch k is a function of (arguments, seed, k).

    A subclass makes batches from `self.seed` at the moment they are wanted, for a checkpoint's seed arrives only after
    `setup()`. The batch size is that of the whole run; each rank makes the whole batch's rows and keeps its share.
    """

    def __init__(self) -> None:
        super().__init__()
        self._seed: int | None = None

    @property
    def seed(self) -> int:
        """That of `lightning.seed_everything`, else one drawn at first use; the same on every rank."""
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
                raise ValueError(f"the checkpoint holds no seed for a {type(self).__name__}; it was written by another")

    @classmethod
    def load_from_checkpoint(cls, *_: Any, **__: Any) -> NoReturn:
        """A checkpoint holds no arguments of a datamodule, and Lightning's own method imports what the file names."""
        raise ValueError(
            f"a checkpoint doesn't hold the arguments of a {cls.__name__}; write them down and make it anew"
        )

    def of_this_rank(self, items: Shaped[Tensor, "batch ..."]) -> Shaped[Tensor, "share ..."]:
        """The rows of a batch that this rank works on, see `common.sharding`.

        Raises:
            ValueError: when there are fewer rows than ranks.
        """
        ranks = Ranks(self.trainer.global_rank, self.trainer.world_size) if self.trainer else ALONE
        return ranks.of_this_rank(items)

    def train_stream(self, make_batch: Callable[[int], Batch], batches_per_epoch: int) -> BatchStream[Batch]:
        """The training loader over `make_batch`, at the trainer's place in its run (at batch 0 without a trainer).

        Under `overfit_batches` it goes round the first batches again and again.
        """
        if self.trainer is None:
            return BatchStream(make_batch, batches_per_epoch)
        if few := _batches_asked_for(self.trainer.overfit_batches, batches_per_epoch):  # type: ignore[attr-defined]
            make_batch = _repeat(make_batch, few)
        # Lightning loads a loader's state only when it resumes within an epoch, and makes new loaders under
        # reload_dataloaders_every_n_epochs; its own count of batches holds in either case.
        return BatchStream(make_batch, batches_per_epoch, next_batch=self.trainer.fit_loop.total_batch_idx + 1)


def _batches_asked_for(overfit_batches: int | float, batches_per_epoch: int) -> int:
    """How many batches `overfit_batches` means, given as a number or as a fraction of the epoch; 0 when it's off."""
    if isinstance(overfit_batches, int):
        return min(overfit_batches, batches_per_epoch)
    return int(overfit_batches * batches_per_epoch)


def _repeat(make_batch: Callable[[int], Batch], period: int) -> Callable[[int], Batch]:
    return lambda k: make_batch(k % period)
