"""A judge of digits: reads an image and says which digit it is, and how sure it is."""

import torch
from jaxtyping import Float
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn

from lightning_modules.classification import Classification


class DigitClassifier(Classification):
    """Learns to read MNIST.

    Args:
        network: images `(batch, 1, 28, 28)` in [−1, 1] → logits `(batch, 10)`.
        optimizer: class or partial that takes the parameters.
        lr_scheduler: class or partial that takes the optimizer; steps with every batch.
    """

    def __init__(
        self,
        network: nn.Module,
        optimizer: OptimizerCallable = torch.optim.Adam,
        lr_scheduler: LRSchedulerCallable | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.optimizer = optimizer
        self.lr_scheduler = lr_scheduler
        self.keep_arguments()

    def forward(self, images: Float[Tensor, "batch 1 28 28"]) -> Float[Tensor, "batch 10"]:
        return self.network(images)

    def predict_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> dict[str, list[int] | list[float]]:
        """Columns `label`, `prediction` and `confidence` (the softmax probability of the prediction, in [0, 1])."""
        images, labels = batch
        confidence, prediction = self(images).softmax(dim=1).max(dim=1)
        return {"label": labels.tolist(), "prediction": prediction.tolist(), "confidence": confidence.tolist()}
