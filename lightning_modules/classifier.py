"""Classification: the base class of all modules trained with cross-entropy, and a classifier of images."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.plugins.precision import MixedPrecision, Precision
from lightning.pytorch.utilities.enums import GradClipAlgorithmType
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer
from torchmetrics.classification import MulticlassAccuracy

from common.eval_mode import output_for_zeros
from common.sharding import average_batchnorm_statistics, sum_over_ranks
from common.targets import UNASKED
from lightning_modules.base import TwofoldModule
from lightning_modules.batches import check_labels, check_shape, images_of, input_and_target

DIGITS = 10


class Classification(TwofoldModule):
    """Cross-entropy training on batches of `(input, target)`; a subclass defines `forward`: input → `classes` logits.

    A target of −100 asks nothing.

    Logs `train/loss` and `train/accuracy` of each batch that is logged, and `loss` and `accuracy` of the whole set for
    `val/` and `test/`. `training_step` returns the accuracy of the global batch.
    """

    classes = DIGITS

    def __init__(
        self, network: nn.Module, optimizer: OptimizerCallable, lr_scheduler: LRSchedulerCallable | None
    ) -> None:
        super().__init__()
        self.accuracy_metrics = nn.ModuleDict()  # one for each loader of each split
        self.network = network
        self.optimizer = optimizer
        self.lr_scheduler = lr_scheduler

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compiles the network in place, with `torch.compile`'s arguments; the names of its weights stay."""
        self.network.compile(*args, **kwargs)

    def training_step(self, batch: Any, batch_idx: int) -> dict[str, Tensor]:
        logits, target = self.logits_and_target(batch)
        # Counted on the device, which a training step never waits for.
        n = self.trainer.strategy.reduce((target != UNASKED).sum(), reduce_op="sum").clamp(min=1)
        correct = self.trainer.strategy.reduce((logits.argmax(dim=1) == target).sum(), reduce_op="sum")
        total = F.cross_entropy(logits, target, ignore_index=UNASKED, reduction="sum")  # a rank may have none
        return {"loss": total / n * self.trainer.world_size, "accuracy": correct / n}

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        super().on_train_batch_end(outputs, batch, batch_idx)
        if self.is_logged():
            self.log("train/loss", outputs["loss"], prog_bar=True, sync_dist=True)
            self.log("train/accuracy", outputs["accuracy"], prog_bar=True)

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self._evaluate(batch, "val", dataloader_idx)

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self._evaluate(batch, "test", dataloader_idx)

    def logits_and_target(self, batch: Any) -> tuple[Float[Tensor, "targets classes"], Int[Tensor, " targets"]]:
        """Returns the logits for all targets of a batch, and the targets."""
        input, target = input_and_target(batch)
        return self(input), target

    def _evaluate(self, batch: Any, split: str, dataloader_idx: int) -> None:
        logits, target = self.logits_and_target(batch)
        name = f"{split}_{dataloader_idx}"
        if name not in self.accuracy_metrics:
            metric = MulticlassAccuracy(self.classes, average="micro", ignore_index=UNASKED)
            self.accuracy_metrics[name] = metric.to(self.device)
        accuracy: Any = self.accuracy_metrics[name]
        accuracy(logits, target)
        # Lightning's mean over the ranks weighs them equally, so the loss is summed here.
        n = sum_over_ranks(int((target != UNASKED).sum()))
        total = self.trainer.strategy.reduce(F.cross_entropy(logits, target, reduction="none").sum(), reduce_op="sum")
        self.log(f"{split}/loss", total / max(n, 1), batch_size=n, sync_dist=True)
        # Lightning looks for the names of metrics once, before the first is logged.
        attribute = f"accuracy_metrics.{name}"
        self.log(f"{split}/accuracy", accuracy, prog_bar=True, batch_size=n, metric_attribute=attribute)

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        super().on_before_optimizer_step(optimizer)
        average_batchnorm_statistics(self)

    def configure_gradient_clipping(
        self, optimizer: Optimizer, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Clips under bf16-mixed as well, where Lightning refuses fused optimizers as if gradients were scaled."""
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
        return {"optimizer": optimizer, "lr_scheduler": self.scheduler_config(self.lr_scheduler, optimizer)}


class DigitClassifier(Classification):
    """A classifier of images, such as MNIST's digits.

    Args:
        network: images in [−1, 1] → logits `(batch, classes)`. If it has an attribute `image_shape` (channels, height,
            width), it takes images of this shape, else of `(1, 28, 28)`.
        optimizer: class or partial that takes the parameters.
        lr_scheduler: class or partial that takes the optimizer; steps with every batch. Without a length
            (`total_iters`, `total_steps` or `T_max`) it lasts for the trainer's `max_steps`.
        classes: number of classes; labels count from 0.

    Raises:
        ValueError: when there are fewer than two classes, or the network doesn't make a logit for each; from a step
            when the images of a batch have another shape, or a label is none of the classes.
    """

    def __init__(
        self,
        network: nn.Module,
        optimizer: OptimizerCallable = torch.optim.Adam,
        lr_scheduler: LRSchedulerCallable | None = None,
        classes: int = DIGITS,
    ) -> None:
        super().__init__(network, optimizer, lr_scheduler)
        if classes < 2:
            raise ValueError(f"classes is {classes}; write 2 or more")
        self.image_shape = tuple(getattr(network, "image_shape", (1, 28, 28)))
        self.classes = classes
        logits = output_for_zeros(network, (2, *self.image_shape))
        if logits.shape != (2, classes):
            raise ValueError(
                f"for 2 images {type(network).__name__} returns {tuple(logits.shape)}; return {classes} logits each"
            )

    def forward(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch classes"]:
        logits: Tensor = self.network(images)
        return logits

    def logits_and_target(self, batch: Any) -> tuple[Float[Tensor, "targets classes"], Int[Tensor, " targets"]]:
        images, labels = input_and_target(batch)
        check_shape(images, self.image_shape)
        check_labels(labels, self.classes, "classifier has")
        return self(images), labels

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        datamodule = getattr(self.trainer, "datamodule", None)
        # For `metrics.features`.
        checkpoint["class_names"] = list(getattr(datamodule, "class_names", ()))
        checkpoint["data_source"] = getattr(datamodule, "data_source", None)

    def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> dict[str, list[int] | list[float]]:
        """Columns `label` if there are any, `prediction` and `confidence` (its softmax probability, in [0, 1])."""
        images = images_of(batch, self.image_shape)
        confidence, prediction = self(images).softmax(dim=1).max(dim=1)
        labelled = isinstance(batch, tuple | list) and len(batch) == 2 and batch[0] is images
        labels = {"label": batch[1].tolist()} if labelled else {}
        return {**labels, "prediction": prediction.tolist(), "confidence": confidence.tolist()}
