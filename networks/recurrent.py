"""What the LSTM, the RNN and the GRU share: parameters, checks of shapes, torch's kernels, and precision on a GPU."""

from collections.abc import Callable
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from common.arguments import check_positive
from networks.blocks import check_sequence

Inputs = Float[Tensor, "steps batch input"]
"""x of all steps."""

State = Float[Tensor, "1 batch hidden"]
"""h of one step."""

Outputs = tuple[Float[Tensor, "steps batch hidden"], State]
"""h of all steps, and the last h."""

Weights = tuple[Tensor, Tensor, Tensor, Tensor]
"""W_ih, W_hh, b_ih and b_hh."""

AnyState = TypeVar("AnyState", Tensor, tuple[Tensor, Tensor])
Results = TypeVar("Results")


class Recurrent(nn.RNNBase):
    """One layer with the parameters of `torch.nn`'s, which are moved to a GPU as the one block that cuDNN needs.

    Args:
        mode: torch's name of the network: LSTM, GRU, RNN_TANH or RNN_RELU.
        initialise: fills W_ih, W_hh, b_ih and b_hh in place.

    Raises:
        ValueError: when a size is below 1.
    """

    weight_ih_l0: nn.Parameter
    weight_hh_l0: nn.Parameter
    bias_ih_l0: nn.Parameter
    bias_hh_l0: nn.Parameter

    def __init__(self, mode: str, input_size: int, hidden_size: int, initialise: Callable[..., None]) -> None:
        check_positive(input_size=input_size, hidden_size=hidden_size)
        self.initialise = initialise  # first, because the next line calls reset_parameters
        super().__init__(mode, input_size, hidden_size)

    def reset_parameters(self) -> None:
        self.initialise(*self.parameters())

    def start(self, x: Inputs, h: State | None) -> State:
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
        self, kernel: Callable[[Tensor, AnyState, Weights], tuple[Tensor, AnyState]], x: Inputs, state: AnyState
    ) -> tuple[Tensor, AnyState]:
        """Returns what the kernel computes; under autocast on CUDA in the precision of the weights.

        There torch would cast what cuDNN's kernels take to float16, also if autocast is to bfloat16 (`AutocastRNN.cpp`
        in torch 2.14). Then gradients would underflow, because losses are scaled for float16 only.
        """
        weights = self.weight_ih_l0, self.weight_hh_l0, self.bias_ih_l0, self.bias_hh_l0
        device, dtype = x.device.type, self.weight_hh_l0.dtype
        if device != "cuda" or not torch.is_autocast_enabled(device):
            return kernel(x, state, weights)
        with torch.autocast(device, enabled=False):
            if isinstance(state, Tensor):
                return kernel(x.to(dtype), state.to(dtype), weights)
            h, c = state
            return kernel(x.to(dtype), (h.to(dtype), c.to(dtype)), weights)


def run_native(function: Callable[..., Results], x: Inputs, state: AnyState, weights: Weights) -> Results:
    """Returns the results of torch's own kernel, such as `torch.gru`: h of all steps and the last state."""
    train = torch.is_grad_enabled()  # cuDNN keeps what its backward needs only if asked to, in eval mode as well
    return function(
        x, state, weights, has_biases=True, num_layers=1, dropout=0, train=train, bidirectional=False, batch_first=False
    )
