"""Looking at a network without changing it."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def evaluating(*networks: nn.Module) -> Iterator[None]:
    """Within, the networks are in eval mode without gradients; afterwards each part is in the mode it was in."""
    modes = [(part, part.training) for network in networks for part in network.modules()]
    with torch.no_grad():
        for network in networks:
            network.eval()
        try:
            yield
        finally:
            for part, training in modes:
                part.training = training
