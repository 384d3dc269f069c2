"""Running a network without changing it."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def evaluating(*networks: nn.Module) -> Iterator[None]:
    """Inside, the networks are in eval mode and gradients are off; afterwards each module has its previous mode."""
    modes = [(part, part.training) for network in networks for part in network.modules()]
    with torch.no_grad():
        for network in networks:
            network.eval()
        try:
            yield
        finally:
            for part, training in modes:
                part.training = training
