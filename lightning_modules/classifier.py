"""A classifier of digits: reads an image and says which digit it is, and how sure it is."""

from typing import Any

import torch
from jaxtyping import Float
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn

from common.eval_mode import evaluating
from lightning_modules.classification import DIGITS, Classification
from networks.lstm import LSTM


class DigitClassifier(Classification):
    """Learns to read MNIST.

    Args:
        network: images `(batch, 1, 28, 28)` in [−1, 1] → logits `(batch, 10)`.
        optimizer: class or partial that takes the parameters.
        lr_scheduler: class or partial that takes the optimizer; steps with every batch.

    Raises:
        ValueError: when the network doesn't make ten logits of an image.
    """

    def __init__(
        self,
        network: nn.Module,
        optimizer: OptimizerCallable = torch.optim.Adam,
        lr_scheduler: LRSchedulerCallable | None = None,
    ) -> None:
        super().__init__()
        _refuse_no_reader(network)
        self.network = network
        self.optimizer = optimizer
        self.lr_scheduler = lr_scheduler
        self.save_arguments()

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compiles the network in place, with `torch.compile`'s arguments; the names of its weights stay.

        Raises:
            ValueError: when it is recurrent, for our kernels are no code that a compiler could better.
        """
        if any(isinstance(part, LSTM) for part in self.network.modules()):
            raise ValueError(f"compiling a {type(self.network).__name__} gains nothing; leave compile out")
        self.network.compile(*args, **kwargs)

    def forward(self, images: Float[Tensor, "batch 1 28 28"]) -> Float[Tensor, "batch 10"]:
        logits: Tensor = self.network(images)
        return logits

    def predict_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> dict[str, list[int] | list[float]]:
        """Columns `label`, `prediction` and `confidence` (the softmax probability of the prediction, in [0, 1])."""
        images, labels = batch
        confidence, prediction = self(images).softmax(dim=1).max(dim=1)
        return {"label": labels.tolist(), "prediction": prediction.tolist(), "confidence": confidence.tolist()}


def _refuse_no_reader(network: nn.Module) -> None:
    name = type(network).__name__
    try:
        with evaluating(network):
            like = next(network.parameters(), torch.empty(0))
            logits = network(torch.zeros(2, 1, 28, 28, dtype=like.dtype, device=like.device))
    except (RuntimeError, ValueError, TypeError) as error:
        raise ValueError(
            f"{name} can't read an image of 1 × 28 × 28; write a classifier of digits ({error})"
        ) from error
    if logits.shape != (2, DIGITS):
        raise ValueError(f"for 2 images {name} gives {tuple(logits.shape)}; give ten logits each")
