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
    with optimizers that have `betas`. The values begin with theirs.

    Args:
        batches: how many batches it takes.
        penalty_factor: what `r1` and `r2` are multiplied by in the end, above 0. None to leave them.
        beta2: the last β₂ of all optimizers, in [0, 1). None to leave it.

    Raises:
        ValueError: if a number is out of range, or both `penalty_factor` and `beta2` are None; when training starts, if
            the module has no `r1` or `r2` above 0, or an optimizer no `betas`.
    """

    def __init__(
        self,
        batches: int,
        penalty_factor: float | None = None,
        beta2: float | None = None,
    ) -> None:
        check_positive(batches=batches)
        if penalty_factor is None and beta2 is None:
            raise ValueError("CosineAnnealing has nothing to change; give penalty_factor, beta2 or both")
        if penalty_factor is not None and not 0 < penalty_factor < math.inf:
            raise ValueError(f"penalty_factor is {penalty_factor}; write a number above 0, such as 0.1")
        if beta2 is not None and not 0 <= beta2 < 1:
            raise ValueError(f"beta2 is {beta2}; write a number from 0 to below 1, such as 0.99")
        self.batches = batches
        self.penalty_factor = penalty_factor
        self.beta2 = beta2
        self._penalties: dict[str, float] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Those that are 0 stay off: whether they fit the rest was checked without them.
        self._penalties = {name: weight for name in ("r1", "r2") if (weight := getattr(pl_module, name, 0)) > 0}
        if self.penalty_factor is not None and not self._penalties:
            raise ValueError(
                f"CosineAnnealing changes r1 and r2, and this {type(pl_module).__name__} has neither; write r1 or r2 "
                "above 0, or leave penalty_factor out"
            )
        for optimizer in trainer.optimizers:
            if self.beta2 is not None and "betas" not in optimizer.defaults:
                raise ValueError(f"CosineAnnealing changes β₂, which {type(optimizer).__name__} doesn't have; use Adam")

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        done = min(1.0, batches_trained(trainer) / self.batches)
        if self.penalty_factor is not None:
            for name, weight in self._penalties.items():
                setattr(pl_module, name, cosine(weight, weight * self.penalty_factor, done))
        if self.beta2 is not None:
            for optimizer in trainer.optimizers:
                beta1, beta2 = optimizer.defaults["betas"]  # those of its groups come from the checkpoint
                for group in optimizer.param_groups:
                    group["betas"] = (beta1, cosine(beta2, self.beta2, done))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for name, weight in self._penalties.items():
            setattr(pl_module, name, weight)  # another `fit` begins with it


def cosine(start: float, end: float, done: float) -> float:
    """The value after this fraction of the way from `start` to `end`: flat at both ends, the mean in the middle."""
    return end + (start - end) * (1 + math.cos(math.pi * done)) / 2
