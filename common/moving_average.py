"""The exponential moving average (EMA) of a network's parameters, whose images are better than the network's own."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


def moving_average(network: nn.Module, decay: float) -> AveragedModel:
    """Returns the exponential moving average of `network`, to be updated after each of its optimizer steps.

    It averages over about the last 1 / (1 − decay) steps. After n steps the decay is min(decay, (n + 1) / (n + 10)), so
    the first steps are soon forgotten. Floating-point buffers are averaged as well, so that BatchNorm's running
    statistics belong to the averaged weights; integer buffers are copied.

    Args:
        decay: in (0, 1).
    """
    average = AveragedModel(network, multi_avg_fn=partial(_update, decay), use_buffers=True)
    return average.requires_grad_(False)


@torch.no_grad()
def _update(decay: float, averages: Sequence[Tensor], currents: Sequence[Tensor], steps: Tensor | int) -> None:
    # The weight stays on the tensors' device, because reading it would wait for the device.
    weight = torch.as_tensor(9 / (steps + 10)).clamp(min=1 - decay)
    for average, current in zip(averages, currents, strict=True):
        if average.is_floating_point():
            average.lerp_(current, weight.to(average))
        else:
            average.copy_(current)
