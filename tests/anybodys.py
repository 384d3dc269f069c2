"""Modules and callbacks of users."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn


class Anybodys(LightningModule):
    """A module with a generator."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = nn.Sequential(nn.Linear(5, 784), nn.Unflatten(1, (1, 28, 28)), nn.Tanh())
        self.generator.latent_dim = 5  # type: ignore[assignment]

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        images: Tensor = self.generator(torch.randn(2, 5))
        return images.mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class StopAt(Callback):
    """Stops training after a number of batches; in `hook`, a hook that is called later."""

    def __init__(self, batch: int, hook: str = "on_train_batch_end") -> None:
        def stop(trainer: Trainer, *_: Any, **__: Any) -> None:
            trainer.should_stop |= trainer.global_step == batch

        setattr(self, hook, stop)
