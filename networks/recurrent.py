"""What the LSTM, the RNN and the GRU share: parameters, checks of shapes, torch's kernels, and precision on a GPU."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from common.arguments import check_positive
from networks.blocks import check_sequence

Inputs = Float[Tensor, "steps batch input"]
"""x of all steps."""

Hidden = Float[Tensor, "1 batch hidden"]
"""h before or after all steps."""

Weights = tuple[Tensor, Tensor, Tensor, Tensor]
"""W_ih, W_hh, b_ih and b_hh."""

State = TypeVar("State", Tensor, tuple[Tensor, Tensor])


class Recurrent(nn.RNNBase):
    """One layer with the parameters of `torch.nn`'s, which are moved to a GPU as the one block that cuDNN needs.

    A subclass sets what its `reset_parameters` needs before it calls this constructor, which calls that.

    Args:
        mode: torch's name of the network: LSTM, GRU, RNN_TANH or RNN_RELU.

    Raises:
        ValueError: when a size is below 1.
    """

    weight_ih_l0: nn.Parameter
    weight_hh_l0: nn.Parameter
    bias_ih_l0: nn.Parameter
    bias_hh_l0: nn.Parameter

    def __init__(self, mode: str, input_size: int, hidden_size: int) -> None:
        check_positive(input_size=input_size, hidden_size=hidden_size)
        super().__init__(mode, input_size, hidden_size)

    @property
    def weights(self) -> Weights:
        return self.weight_ih_l0, self.weight_hh_l0, self.bias_ih_l0, self.bias_hh_l0

    def start(self, x: Inputs, h: Hidden | None) -> Hidden:
        """Returns h, or 0 without one.

        Raises:
            ValueError: when x or h has another shape, or x has no steps.
        """
        check_sequence(x, self.input_size)
        zero = x.new_zeros(1, x.shape[1], self.hidden_size)
        h = zero if h is None else h
        if h.shape != zero.shape:
            raise ValueError(f"h has shape {tuple(h.shape)}; write {tuple(zero.shape)}")
        return h


def run(
    kernel: Callable[[Tensor, State, Weights], tuple[Tensor, State]], x: Inputs, state: State, weights: Weights
) -> tuple[Tensor, State]:
    """Returns what the kernel computes; under autocast on CUDA in the precision of the weights.

    There torch would cast what cuDNN's networks take to float16, also if autocast is to bfloat16 (`AutocastRNN.cpp`).
    Then gradients would underflow, because only float16 has its losses scaled.
    """
    device, dtype = x.device.type, weights[0].dtype
    if device != "cuda" or not torch.is_autocast_enabled(device):
        return kernel(x, state, weights)
    with torch.autocast(device, enabled=False):
        if isinstance(state, Tensor):
            return kernel(x.to(dtype), state.to(dtype), weights)
        h, c = state
        return kernel(x.to(dtype), (h.to(dtype), c.to(dtype)), weights)


def run_native(function: Callable[..., Any], x: Inputs, state: Any, weights: Weights) -> Any:
    """Returns the results of torch's own kernel, such as `torch.gru`: h of all steps and the last state."""
    train = torch.is_grad_enabled()  # cuDNN keeps what its backward needs only if told to, in eval mode as well
    return function(
        x, state, weights, has_biases=True, num_layers=1, dropout=0, train=train, bidirectional=False, batch_first=False
    )
