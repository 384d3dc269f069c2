"""The exponential moving average (EMA) of a network's parameters, whose images are better than the network's own."""

from itertools import chain

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel


class MovingAverage(AveragedModel):
    """The exponential moving average of `network`, to be updated after each of its optimizer steps.

    It averages over about the last 1 / (1 − decay) steps. After n steps the decay is min(decay, (n + 1) / (n + 10)), so
    the first steps are soon forgotten. Floating-point buffers are averaged as well, so that BatchNorm's running
    statistics belong to the averaged weights; integer buffers are copied.

    Args:
        decay: in (0, 1).
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        super().__init__(network)
        self.decay = decay
        self.requires_grad_(False)

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        # `AveragedModel` reads the number of updates, and waits for the device. Here the weight stays there.
        weight = (9 / (self.n_averaged + 10)).clamp(min=1 - self.decay).where(self.n_averaged > 0, 1.0)
        averages = chain(self.module.parameters(), self.module.buffers())
        for average, current in zip(averages, chain(model.parameters(), model.buffers()), strict=True):
            if average.is_floating_point():
                average.lerp_(current, weight.to(average))
            else:
                average.copy_(current)
        self.n_averaged += 1
