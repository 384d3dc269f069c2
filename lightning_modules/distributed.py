"""Training by many processes that comes to what one process comes to, whatever losses and optimizers there are."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from jaxtyping import Float, Shaped
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from common.sharding import Ranks
from lightning_modules.nan_check import NaNCheckedModule


class DistributedModule(NaNCheckedModule):
    """A LightningModule whose losses are means over the batch, of which each rank has its rows (`common.sharding`).

    After each backward the gradients are made those of the mean over the whole batch. It takes any of Lightning's DDP
    strategies for what they start and connect; their own averaging rests, because it expects every parameter to take
    part in every backward, of which a game has one for each network, and takes all ranks' shares for equal.

    In float64 two processes end within 1e-6 of what one does. In float32 they add up in another order, and training
    lets the last bits grow: after some hundred steps the weights are others, though as good ones. With BatchNorm they
    differ from the start, for each rank normalises its own rows; the running statistics are averaged over the ranks,
    so that the ranks agree. On GPUs the CLI switches `sync_batchnorm` on, which takes this difference away.

    A subclass draws random numbers for a batch by `drawn`.
    """

    _rows = 1
    """Of the training batch, those that this rank has."""
    _rows_of_all = 1

    def setup(self, stage: str) -> None:
        if self.trainer.world_size == 1:
            self.ranks = Ranks()
            return
        if not isinstance(self.trainer.strategy, DDPStrategy):
            raise ValueError(
                f"many processes train a {type(self).__name__} by the strategy ddp, not by a "
                f"{type(self.trainer.strategy).__name__}; write strategy: auto"
            )
        self.ranks = Ranks(self.trainer.global_rank, self.trainer.world_size)

    def on_fit_start(self) -> None:
        super().on_fit_start()
        self._running_statistics = list(_running_statistics(self))

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        super().on_train_batch_start(batch, batch_idx)
        if self.ranks.count > 1:
            self._rows = len(batch[0])
            self._rows_of_all = self.ranks.total(self._rows)
            model = self.trainer.strategy.model
            if isinstance(model, DistributedDataParallel):
                model.require_backward_grad_sync = False  # Lightning switches it on again after each batch

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        super().backward(loss, *args, **kwargs)
        if self.ranks.count > 1:
            moved = kwargs.get("inputs") or self.parameters()
            gradients = [parameter.grad for parameter in moved if parameter.grad is not None]
            weight = self._rows / self._rows_of_all * self.guard.trust()
            self.ranks.add_up([*gradients, *self._running_statistics], weight)

    def drawn(self, draw: Callable[[int], Shaped[Tensor, "batch ..."]], rows: int) -> Shaped[Tensor, "rows ..."]:
        """This rank's rows of what `draw(n)` makes for the n rows of the whole batch, the same numbers on any rank.

        Args:
            draw: makes as many rows as it is told.
            rows: how many of the batch this rank has.
        """
        if self.ranks.count == 1:
            return draw(rows)
        whole = self._rows_of_all if self.trainer.training else self.ranks.total(rows)
        return self.ranks.of_this_rank(draw(whole))

    def over_all_ranks(self, means: dict[str, Float[Tensor, ""]]) -> dict[str, Float[Tensor, ""]]:
        """Means over this rank's rows of the training batch become means over the whole batch."""
        if self.ranks.count == 1:
            return means
        values = torch.stack(list(means.values()))
        self.ranks.add_up([values], self._rows / self._rows_of_all)
        return dict(zip(means, values, strict=True))


def _running_statistics(module: nn.Module) -> Iterator[Tensor]:
    """Those of BatchNorm, but for averages of networks, which the ranks make alike from networks that are alike."""
    if isinstance(module, AveragedModel):
        return
    if isinstance(module, _BatchNorm):
        yield from (each for each in (module.running_mean, module.running_var) if each is not None)
    for child in module.children():
        yield from _running_statistics(child)
