"""The LSTM, from its equations.

An LSTM reads a sequence x⁽¹⁾ … x⁽ᵀ⁾ one step at a time. What it remembers lives in a cell state c, which a step
changes only through gates with values between 0 and 1: the forget gate f says how much of the cell to keep, the input
gate i how much of the candidate g to write, the output gate o how much to show as the hidden state h. With f at 1 and
i at 0 the cell stays as it is, and so does the gradient on its way back: that is why it remembers.

    i⁽ᵗ⁾ = σ(W_ii x⁽ᵗ⁾ + W_hi h⁽ᵗ⁻¹⁾ + b_i)
    f⁽ᵗ⁾ = σ(W_if x⁽ᵗ⁾ + W_hf h⁽ᵗ⁻¹⁾ + b_f)
    g⁽ᵗ⁾ = tanh(W_ig x⁽ᵗ⁾ + W_hg h⁽ᵗ⁻¹⁾ + b_g)
    o⁽ᵗ⁾ = σ(W_io x⁽ᵗ⁾ + W_ho h⁽ᵗ⁻¹⁾ + b_o)
    c⁽ᵗ⁾ = f⁽ᵗ⁾ ⊙ c⁽ᵗ⁻¹⁾ + i⁽ᵗ⁾ ⊙ g⁽ᵗ⁾
    h⁽ᵗ⁾ = o⁽ᵗ⁾ ⊙ tanh(c⁽ᵗ⁾)

Hochreiter & Schmidhuber 1997, "Long short-term memory" (https://doi.org/10.1162/neco.1997.9.8.1735); the forget gate is
from Gers, Schmidhuber & Cummins 2000, "Learning to forget" (https://doi.org/10.1162/089976600300015015).
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from networks.initialisers import LSTM_INITIALISERS, named

State = tuple[Float[Tensor, "1 batch hidden"], Float[Tensor, "1 batch hidden"]]
"""h and c."""

Weights = tuple[
    Float[Tensor, "4*hidden input"],
    Float[Tensor, "4*hidden hidden"],
    Float[Tensor, " 4*hidden"],
    Float[Tensor, " 4*hidden"],
]
"""W_ih, W_hh, b_ih, b_hh: those of the gates i, f, g, o one below the other."""


class LSTM(nn.Module):
    """One layer that reads `(steps, batch, input_size)`; parameters and results are those of `torch.nn.LSTM`.

    Args:
        kernel: "gates" runs the equations as they stand above, "fused" hands the same parameters to torch's native
            kernel (oneDNN, cuDNN); "auto" is "fused".
        init: a name in `networks.initialisers.LSTM_INITIALISERS`.
        horizon: the longest length to remember; "forget_log" and "chrono" need it.

    Raises:
        ValueError: when a size is below 1, a name isn't known, or the horizon is missing.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        kernel: str = "auto",
        init: str = "torch",
        horizon: int | None = None,
    ) -> None:
        super().__init__()
        if input_size < 1 or hidden_size < 1:
            raise ValueError(f"input_size is {input_size}, hidden_size is {hidden_size}; write numbers of at least 1")
        if kernel not in KERNELS:
            raise ValueError(f"kernel '{kernel}' isn't known; for the LSTM write one of {', '.join(KERNELS)}")
        initialise = named(init, LSTM_INITIALISERS)

        self.input_size, self.hidden_size = input_size, hidden_size
        self.kernel, self.init, self.horizon = kernel, init, horizon
        self.weight_ih_l0 = nn.Parameter(torch.empty(4 * hidden_size, input_size))
        self.weight_hh_l0 = nn.Parameter(torch.empty(4 * hidden_size, hidden_size))
        self.bias_ih_l0 = nn.Parameter(torch.empty(4 * hidden_size))
        self.bias_hh_l0 = nn.Parameter(torch.empty(4 * hidden_size))
        initialise(*self.parameters(), horizon=horizon)

    def forward(
        self, x: Float[Tensor, "steps batch input"], state: State | None = None
    ) -> tuple[Float[Tensor, "steps batch hidden"], State]:
        """Returns h of every step, and the last (h, c), from which a next call can go on. Without a state, starts at 0.

        Raises:
            ValueError: when x or the state has another shape, or x no steps.
        """
        if x.dim() != 3 or x.shape[0] < 1 or x.shape[2] != self.input_size:
            raise ValueError(f"x has shape {tuple(x.shape)}; write (steps of 1 or more, batch, {self.input_size})")
        zero = x.new_zeros(1, x.shape[1], self.hidden_size)
        h, c = state or (zero, zero)
        if h.shape != zero.shape or c.shape != zero.shape:
            raise ValueError(f"h is {tuple(h.shape)}, c is {tuple(c.shape)}; write {tuple(zero.shape)} for both")
        weights = self.weight_ih_l0, self.weight_hh_l0, self.bias_ih_l0, self.bias_hh_l0
        return KERNELS[self.kernel](x, (h, c), weights)


def gates_kernel(
    x: Float[Tensor, "steps batch input"], state: State, weights: Weights
) -> tuple[Float[Tensor, "steps batch hidden"], State]:
    """The equations. One product takes in x for all gates and steps, and one per step takes in h for all gates."""
    (h,), (c,) = state  # (batch, hidden) each
    W_ih, W_hh, b_ih, b_hh = weights
    output = []
    for Wx_b in F.linear(x, W_ih, b_ih + b_hh):  # (batch, 4 hidden)
        i, f, g, o = torch.addmm(Wx_b, h, W_hh.T).chunk(4, dim=1)  # (batch, hidden) each
        i = torch.sigmoid(i)
        f = torch.sigmoid(f)
        g = torch.tanh(g)
        o = torch.sigmoid(o)
        c = f * c + i * g
        h = o * torch.tanh(c)
        output.append(h)
    return torch.stack(output), (h[None], c[None])


def fused_kernel(
    x: Float[Tensor, "steps batch input"], state: State, weights: Weights
) -> tuple[Float[Tensor, "steps batch hidden"], State]:
    """The same numbers, up to rounding, from torch's native kernel."""
    train = torch.is_grad_enabled()  # cuDNN keeps what backward needs only then; also in eval mode it may be needed
    output, h, c = torch.lstm(
        x, state, weights, has_biases=True, num_layers=1, dropout=0, train=train, bidirectional=False, batch_first=False
    )
    return output, (h, c)


KERNELS = {"auto": fused_kernel, "gates": gates_kernel, "fused": fused_kernel}
