"""Running a network without changing it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn


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


def output_for_zeros(network: nn.Module, shape: Sequence[int], *labels: Tensor) -> Tensor:
    """Returns the output of a network in eval mode for an input of zeros, in the network's dtype and on its device.

    A class-conditional network also gets the labels.

    Raises:
        ValueError: when the network doesn't accept an input of this shape.
    """
    like = next(network.parameters(), torch.empty(0))
    try:
        with evaluating(network):
            zeros = torch.zeros(*shape, dtype=like.dtype, device=like.device)
            output: Tensor = network(zeros, *(each.to(like.device) for each in labels))
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        accepted = f"the input shape {tuple(shape)}{' with labels' if labels else ''}"
        raise ValueError(f"{type(network).__name__} doesn't accept {accepted}: {error}") from error
    return output
