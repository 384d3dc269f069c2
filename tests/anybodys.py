"""Modules of users, which use nothing of ours."""

from typing import Any

import torch
from lightning.pytorch import LightningModule
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
