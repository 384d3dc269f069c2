"""The plain recurrent network (Elman 1990, "Finding structure in time", https://doi.org/10.1207/s15516709cog1402_1).

An RNN reads a sequence x⁽¹⁾ … x⁽ᵀ⁾ one step at a time, and its only memory is the hidden state h. Every step multiplies
h by W_hh and applies φ, and every step back multiplies the gradient by W_hhᵀ and φ′, so over many steps both vanish or
explode (Bengio, Simard & Frasconi 1994, https://doi.org/10.1109/72.279181).
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from networks.initialisers import RNN_INITIALISERS, named

State = Float[Tensor, "1 batch hidden"]
"""h."""

Weights = tuple[
    Float[Tensor, "hidden input"], Float[Tensor, "hidden hidden"], Float[Tensor, " hidden"], Float[Tensor, " hidden"]
]
"""W_ih, W_hh, b_ih, b_hh."""

NONLINEARITIES = {"tanh": torch.tanh, "relu": torch.relu}


def equations_kernel(
    x: Float[Tensor, "steps batch input"], state: State, weights: Weights, nonlinearity: str
) -> tuple[Float[Tensor, "steps batch hidden"], State]:
    """The equation, step by step; autograd differentiates it."""
    (h,) = state  # (batch, hidden)
    W_ih, W_hh, b_ih, b_hh = weights
    φ = NONLINEARITIES[nonlinearity]
    output = []
    for x_t in x:  # (batch, input)
        h = φ(x_t @ W_ih.T + b_ih + h @ W_hh.T + b_hh)  # (batch, hidden)
        output.append(h)
    return torch.stack(output), h[None]


class RNN(nn.Module):
    """One layer that reads `(steps, batch, input_size)`; parameters and results are those of `torch.nn.RNN`.

    Args:
        kernel: equations (`equations_kernel` above), native (torch's kernel: oneDNN, cuDNN) or auto (native), with
            equal results up to rounding.
        nonlinearity: "tanh" or "relu".
        init: a name in `networks.initialisers.RNN_INITIALISERS`; "identity" goes with relu.

    Raises:
        ValueError: when a size is below 1, a name isn't known, or "identity" meets tanh.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        kernel: str = "auto",
        nonlinearity: str = "tanh",
        init: str = "torch",
    ) -> None:
        super().__init__()
        for name, size in (("input_size", input_size), ("hidden_size", hidden_size)):
            if size < 1:
                raise ValueError(f"{name} is {size}; write 1 or more")
        if kernel not in KERNELS:
            raise ValueError(f"kernel '{kernel}' isn't known; for the RNN write one of {', '.join(KERNELS)}")
        if nonlinearity not in NONLINEARITIES:
            raise ValueError(f"nonlinearity '{nonlinearity}' isn't known; write one of {', '.join(NONLINEARITIES)}")
        if init == "identity" and nonlinearity == "tanh":
            raise ValueError("init 'identity' goes with relu; write nonlinearity relu, or init orthogonal for tanh")
        initialise = named(init, RNN_INITIALISERS)

        self.input_size, self.hidden_size = input_size, hidden_size
        self.kernel, self.nonlinearity, self.init = kernel, nonlinearity, init
        self.weight_ih_l0 = nn.Parameter(torch.empty(hidden_size, input_size))
        self.weight_hh_l0 = nn.Parameter(torch.empty(hidden_size, hidden_size))
        self.bias_ih_l0 = nn.Parameter(torch.empty(hidden_size))
        self.bias_hh_l0 = nn.Parameter(torch.empty(hidden_size))
        initialise(*self.parameters())

    def forward(
        self, x: Float[Tensor, "steps batch input"], h: State | None = None
    ) -> tuple[Float[Tensor, "steps batch hidden"], State]:
        """Returns h of every step and the last one, from which a next call can go on; without an h, starts at 0.

        Raises:
            ValueError: when x or h has another shape, or x has no steps.
        """
        if x.dim() != 3 or x.shape[0] < 1 or x.shape[2] != self.input_size:
            raise ValueError(f"x has shape {tuple(x.shape)}; write (steps of 1 or more, batch, {self.input_size})")
        zero = x.new_zeros(1, x.shape[1], self.hidden_size)
        h = zero if h is None else h
        if h.shape != zero.shape:
            raise ValueError(f"h has shape {tuple(h.shape)}; write {tuple(zero.shape)}")
        weights = self.weight_ih_l0, self.weight_hh_l0, self.bias_ih_l0, self.bias_hh_l0
        return KERNELS[self.kernel](x, h, weights, self.nonlinearity)


def native_kernel(
    x: Float[Tensor, "steps batch input"], state: State, weights: Weights, nonlinearity: str
) -> tuple[Float[Tensor, "steps batch hidden"], State]:
    """torch's native kernel."""
    train = torch.is_grad_enabled()  # cuDNN keeps what its backward needs only if told to, in eval mode as well
    native = {"tanh": torch.rnn_tanh, "relu": torch.rnn_relu}[nonlinearity]
    return native(
        x, state, weights, has_biases=True, num_layers=1, dropout=0, train=train, bidirectional=False, batch_first=False
    )


KERNELS = {"auto": native_kernel, "equations": equations_kernel, "native": native_kernel}
