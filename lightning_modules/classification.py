"""Training a network that names one of ten digits."""

from typing import Any

import torch.nn.functional as F
from jaxtyping import Float, Int
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.plugins.precision import MixedPrecision, Precision
from lightning.pytorch.utilities.enums import GradClipAlgorithmType
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.optim import Optimizer
from torchmetrics.classification import MulticlassAccuracy

from lightning_modules.base import TwofoldModule, scheduler_config

DIGITS = 10
"""Classes: the digits 0 to 9."""


class Classification(TwofoldModule):
    """Cross-entropy on batches of `(input, target)`; a subclass says in `forward` how input becomes ten logits.

    Logs `train/loss` and `train/accuracy` of each batch that somebody reads, and the same of the whole set for `val/`
    and `test/`. Where many processes train together, all numbers but the `loss` that a step returns are of all of them.
    """

    optimizer: OptimizerCallable
    lr_scheduler: LRSchedulerCallable | None

    def __init__(self) -> None:
        super().__init__()
        self.val_accuracy = MulticlassAccuracy(DIGITS, average="micro")
        self.test_accuracy = MulticlassAccuracy(DIGITS, average="micro")

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> dict[str, Tensor]:
        logits, target = self.answers(batch)
        loss = F.cross_entropy(logits, target)
        accuracy = self.ranks.mean((logits.argmax(dim=1) == target).float())
        return {"loss": loss, "accuracy": accuracy}

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self.is_read():
            loss = self.over_all_ranks({"train/loss": outputs["loss"]})
            self.log_dict({**loss, "train/accuracy": outputs["accuracy"]}, prog_bar=True)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self._evaluate(batch, "val", self.val_accuracy)

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self._evaluate(batch, "test", self.test_accuracy)

    def answers(self, batch: tuple[Tensor, Tensor]) -> tuple[Float[Tensor, "answers 10"], Int[Tensor, " answers"]]:
        """The logits of all that a batch asks for, and what is right."""
        input, target = batch
        return self(input), target

    def _evaluate(self, batch: tuple[Tensor, Tensor], split: str, accuracy: MulticlassAccuracy) -> None:
        logits, target = self.answers(batch)
        accuracy(logits, target)
        loss = self.ranks.mean(F.cross_entropy(logits, target, reduction="none"))
        answers = self.ranks.total(len(target))
        self.log(f"{split}/loss", loss, batch_size=answers, sync_dist=True)  # which is the same on all ranks
        self.log(f"{split}/accuracy", accuracy, prog_bar=True, batch_size=answers)

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clips under bf16-mixed, too, which Lightning refuses fused optimizers for fear of scaled gradients."""
        plugin = self.trainer.precision_plugin
        if isinstance(plugin, MixedPrecision) and plugin.scaler is None:
            algorithm = GradClipAlgorithmType(gradient_clip_algorithm or "norm")
            Precision.clip_gradients(plugin, optimizer, gradient_clip_val or 0.0, algorithm)
        else:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        optimizer = self.optimizer(self.parameters())
        if self.lr_scheduler is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": scheduler_config(self.lr_scheduler, optimizer)}
