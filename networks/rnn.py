"""The plain recurrent network (Elman 1990, "Finding structure in time", https://doi.org/10.1207/s15516709cog1402_1).

An RNN reads a sequence x⁽¹⁾ … x⁽ᵀ⁾ one step at a time, and its only memory is the hidden state h. Every step multiplies
h by W_hh and applies φ, and every step back multiplies the gradient by W_hhᵀ and φ′, so over many steps both may vanish
or explode. A tanh unit with a weight above 1 to itself has two stable states and keeps one of them without end, as
`networks.initialisers.latch` does (Bengio, Simard & Frasconi 1994, https://doi.org/10.1109/72.279181).
"""

from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from common.arguments import check_choice
from networks.initialisers import RNN_INITIALISERS, RNNInit
from networks.recurrent import Inputs, Outputs, Recurrent, State, run_native

Weights = tuple[
    Float[Tensor, "hidden input"], Float[Tensor, "hidden hidden"], Float[Tensor, " hidden"], Float[Tensor, " hidden"]
]
"""W_ih, W_hh, b_ih, b_hh."""

NONLINEARITIES = {"tanh": torch.tanh, "relu": torch.relu}


def equations_kernel(x: Inputs, state: State, weights: Weights, nonlinearity: str) -> Outputs:
    """The equation, step by step; autograd differentiates it."""
    (h,) = state  # (batch, hidden)
    W_ih, W_hh, b_ih, b_hh = weights
    φ = NONLINEARITIES[nonlinearity]
    output = []
    for x_t in x:  # (batch, input)
        h = φ(x_t @ W_ih.T + b_ih + h @ W_hh.T + b_hh)  # (batch, hidden)
        output.append(h)
    return torch.stack(output), h[None]


class RNN(Recurrent):
    """One layer that reads `(steps, batch, input_size)`; parameters and results are those of `torch.nn.RNN`.

    Args:
        kernel: equations (`equations_kernel` above), native (torch's kernel: oneDNN, cuDNN) or auto (native), with
            equal results up to rounding.
        nonlinearity: "tanh" or "relu".
        init: a name in `networks.initialisers.RNN_INITIALISERS`; "identity" is meant for relu, "latch" for tanh.
        gain: the gain of "latch", above 1.
        input_scale: the bound of the input weights of "latch", above 0.

    Raises:
        ValueError: when a size is below 1, a name isn't known, `gain` or `input_scale` is out of range, or "latch" is
            asked for without tanh.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        kernel: str = "auto",
        nonlinearity: str = "tanh",
        init: RNNInit = "torch",
        gain: float = 3.0,
        input_scale: float = 1.0,
    ) -> None:
        check_choice("kernel", kernel, KERNELS)
        check_choice("nonlinearity", nonlinearity, NONLINEARITIES)
        check_choice("init", init, RNN_INITIALISERS)
        if init == "latch" and nonlinearity != "tanh":
            raise ValueError(f"init 'latch' is for tanh, not for {nonlinearity}; write identity for relu")
        initialise = partial(RNN_INITIALISERS[init], gain=gain, input_scale=input_scale)
        super().__init__(f"RNN_{nonlinearity.upper()}", input_size, hidden_size, initialise)
        self.kernel, self.nonlinearity, self.init = kernel, nonlinearity, init
        self.gain, self.input_scale = gain, input_scale

    def forward(self, x: Inputs, h: State | None = None) -> Outputs:
        """Returns h of every step and the last one, from which a next call can go on; without an h, starts at 0.

        Raises:
            ValueError: when x or h has another shape, or x has no steps.
        """
        kernel = partial(KERNELS[self.kernel], nonlinearity=self.nonlinearity)
        return self.run(kernel, x, self.start(x, h))


def native_kernel(x: Inputs, state: State, weights: Weights, nonlinearity: str) -> Outputs:
    """torch's native kernel."""
    return run_native(torch.rnn_tanh if nonlinearity == "tanh" else torch.rnn_relu, x, state, weights)


KERNELS = {"auto": native_kernel, "equations": equations_kernel, "native": native_kernel}
