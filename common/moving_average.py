"""A generator averaged over its own training, which draws better pictures than it does itself."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


def moving_average(network: nn.Module, decay: float, stopped: Callable[[], Tensor] | None = None) -> AveragedModel:
    """The exponential moving average of `network`, to be updated after each of its steps.

    The average over the last 1 / (1 − decay) steps or so; before there are as many, over the last tenth of what there
    are, so that the start is soon forgotten: after n steps the decay is min(decay, (n + 1) / (n + 10)). It covers
    buffers, too, so that BatchNorm's running statistics belong to the averaged weights; whole numbers are copied.

    Args:
        decay: in (0, 1).
        stopped: says by a 1, instead of a 0, that the average is to stay as it is; on the tensors' device.
    """
    average = AveragedModel(network, multi_avg_fn=_warming_up(decay, stopped), use_buffers=True)
    return average.requires_grad_(False)


def _warming_up(
    decay: float, stopped: Callable[[], Tensor] | None
) -> Callable[[Sequence[Tensor], Sequence[Tensor], Tensor | int], None]:
    @torch.no_grad()
    def update(averages: Sequence[Tensor], currents: Sequence[Tensor], steps: Tensor | int) -> None:
        # On the tensors' device, for to read the number of steps there would wait for all that goes on.
        share = torch.as_tensor(9 / (steps + 10)).clamp(min=1 - decay)
        if stopped is not None:
            share = share * (1 - stopped())
        for average, current in zip(averages, currents, strict=True):
            if average.is_floating_point():
                average.lerp_(current, share.to(average))
            else:
                average.copy_(current)

    return update
