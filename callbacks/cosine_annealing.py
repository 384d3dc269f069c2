"""Settings of GAN training that change during it: the weight of R1 and R2, and Adam's β₂."""

import math
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from callbacks.batches import batches_trained
from common.arguments import check_positive


class CosineAnnealing(Callback):
    """Moves the weight of R1 and R2, and Adam's β₂, along half a cosine; R3GAN (https://arxiv.org/abs/2501.05441).

    At first, when generated and real images are easy to tell apart, D needs a large penalty and the averages of squared
    gradients must be short. Each value is a function of the number of batches trained, so a resumed run goes on with
    the same ones. After `batches` batches the values stay at their ends.

    Works with a module whose `training_step` reads the weights from `r1` and `r2`, such as `lightning_modules.GAN`, and
    with optimizers that have `betas`.

    Args:
        batches: how many batches it takes.
        penalty: first and last weight of those of R1 and R2 that the module has, each above 0. None to leave them.
        beta2: first and last β₂ of all optimizers, each in [0, 1). None to leave it.

    Raises:
        ValueError: if a number is out of range, or both `penalty` and `beta2` are None; when training starts, if the
            module has no `r1` or `r2` above 0, or an optimizer no `betas`.
    """

    def __init__(
        self,
        batches: int,
        penalty: tuple[float, float] | None = None,
        beta2: tuple[float, float] | None = None,
    ) -> None:
        check_positive(batches=batches)
        if penalty is None and beta2 is None:
            raise ValueError("CosineAnnealing has nothing to change; give penalty, beta2 or both")
        if penalty is not None and not all(0 < weight < math.inf for weight in penalty):
            raise ValueError(f"penalty is {list(penalty)}; write two weights above 0, such as [2, 0.2]")
        if beta2 is not None and not all(0 <= beta < 1 for beta in beta2):
            raise ValueError(f"beta2 is {list(beta2)}; write two numbers from 0 to below 1, such as [0.9, 0.99]")
        self.batches = batches
        self.penalty = penalty
        self.beta2 = beta2

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.penalty is not None and not _penalties(pl_module):
            raise ValueError(
                f"CosineAnnealing changes r1 and r2, and this {type(pl_module).__name__} has neither; write r1 or r2 "
                "above 0, or leave the penalty out"
            )
        for optimizer in trainer.optimizers:
            if self.beta2 is not None and "betas" not in optimizer.defaults:
                raise ValueError(f"CosineAnnealing changes β₂, which {type(optimizer).__name__} doesn't have; use Adam")

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        done = min(1.0, batches_trained(trainer) / self.batches)
        if self.penalty is not None:
            for name in _penalties(pl_module):
                setattr(pl_module, name, cosine(*self.penalty, done))
        if self.beta2 is not None:
            beta2 = cosine(*self.beta2, done)
            for group in (group for optimizer in trainer.optimizers for group in optimizer.param_groups):
                group["betas"] = (group["betas"][0], beta2)


def _penalties(module: LightningModule) -> list[str]:
    """The penalties that the module has. Others stay off: whether they fit the rest was checked without them."""
    return [name for name in ("r1", "r2") if getattr(module, name, 0) > 0]


def cosine(start: float, end: float, done: float) -> float:
    """The value after this fraction of the way from `start` to `end`: flat at both ends, the mean in the middle."""
    return end + (start - end) * (1 + math.cos(math.pi * done)) / 2
