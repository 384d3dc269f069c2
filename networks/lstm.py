"""The LSTM.

An LSTM reads a sequence x⁽¹⁾ … x⁽ᵀ⁾ one step at a time. Its memory is the cell state c, which a step changes only
through gates with values between 0 and 1: the forget gate f scales the old cell state, the input gate i scales the
candidate g that is added to it, and the output gate o scales what becomes visible as the hidden state h. With f = 1 and
i = 0 the cell state stays as it is, and so does its gradient on the way back through the steps.
`scripts/plot_gates.py` plots the gates of a trained network.

Hochreiter & Schmidhuber 1997, "Long short-term memory" (https://doi.org/10.1162/neco.1997.9.8.1735); the forget gate is
from Gers, Schmidhuber & Cummins 2000, "Learning to forget" (https://doi.org/10.1162/089976600300015015).
"""

from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from common.arguments import check_choice
from networks.initialisers import LSTM_INITIALISERS, LSTMInit
from networks.lstm_backward import ManualBackward
from networks.recurrent import Inputs, Recurrent, run_native

State = tuple[Float[Tensor, "1 batch hidden"], Float[Tensor, "1 batch hidden"]]
"""h and c."""

Outputs = tuple[Float[Tensor, "steps batch hidden"], State]
"""h of all steps, and the last h and c."""

Weights = tuple[
    Float[Tensor, "4*hidden input"],
    Float[Tensor, "4*hidden hidden"],
    Float[Tensor, " 4*hidden"],
    Float[Tensor, " 4*hidden"],
]
"""W_ih, W_hh, b_ih and b_hh, each with the rows of the gates i, f, g, o one below the other, as in `nn.LSTM`."""


def equations_kernel(x: Inputs, state: State, weights: Weights) -> Outputs:
    """The six equations, step by step; autograd differentiates them."""
    (h,), (c,) = state  # (batch, hidden)
    W_ih, W_hh, b_ih, b_hh = weights
    W_ii, W_if, W_ig, W_io = W_ih.chunk(4)  # (hidden, input)
    W_hi, W_hf, W_hg, W_ho = W_hh.chunk(4)  # (hidden, hidden)
    b_i, b_f, b_g, b_o = (b_ih + b_hh).chunk(4)  # (hidden)
    output = []
    for x_t in x:  # (batch, input)
        i = torch.sigmoid(x_t @ W_ii.T + h @ W_hi.T + b_i)  # (batch, hidden)
        f = torch.sigmoid(x_t @ W_if.T + h @ W_hf.T + b_f)  # (batch, hidden)
        g = torch.tanh(x_t @ W_ig.T + h @ W_hg.T + b_g)  # (batch, hidden)
        o = torch.sigmoid(x_t @ W_io.T + h @ W_ho.T + b_o)  # (batch, hidden)
        c = f * c + i * g  # (batch, hidden)
        h = o * torch.tanh(c)  # (batch, hidden)
        output.append(h)
    return torch.stack(output), (h[None], c[None])


class LSTM(Recurrent):
    """One layer that reads `(steps, batch, input_size)`; parameters and results are those of `torch.nn.LSTM`.

    Args:
        kernel: what computes it, with equal results up to rounding:
            equations: `equations_kernel` above.
            manual: the hand-derived backward pass of `networks.lstm_backward`; no second derivatives.
            native: torch's kernel (oneDNN, cuDNN).
            auto: manual or native, see `fastest_kernel`; for second derivatives and `torch.func` name equations.
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
        init: LSTMInit = "torch",
        horizon: int | None = None,
    ) -> None:
        check_choice("kernel", kernel, KERNELS)
        check_choice("init", init, LSTM_INITIALISERS)
        super().__init__("LSTM", input_size, hidden_size, partial(LSTM_INITIALISERS[init], horizon=horizon))
        self.kernel, self.init, self.horizon = kernel, init, horizon

    def forward(self, x: Inputs, state: State | None = None) -> Outputs:
        """Returns h of every step and the last (h, c), from which a next call can go on; without a state, starts at 0.

        Raises:
            ValueError: when x or the state has another shape, or x has no steps.
        """
        return self.run(KERNELS[self.kernel], x, self._start(x, state))

    def gates(self, x: Inputs, state: State | None = None) -> "Gates":
        """Returns all that `forward` computes, for plots.

        Given h of all steps, from any kernel, one product gives the gates of all steps.

        Raises:
            ValueError: as `forward` does.
        """
        h_0, c = self._start(x, state)
        h, _ = self(x, (h_0, c))
        W_ih_x = F.linear(x, self.weight_ih_l0, self.bias_ih_l0 + self.bias_hh_l0)
        W_hh_h = F.linear(torch.cat([h_0, h[:-1]]), self.weight_hh_l0)
        i, f, g, o = (W_ih_x + W_hh_h).chunk(4, dim=2)
        i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
        cells = []
        for t in range(len(x)):
            c = f[t] * c + i[t] * g[t]  # (1, batch, hidden)
            cells.append(c)
        return Gates(i, f, g, o, torch.cat(cells), h)

    def _start(self, x: Tensor, state: State | None) -> State:
        zero = self.start(x, None)
        h, c = state or (zero, zero)
        if h.shape != zero.shape or c.shape != zero.shape:
            raise ValueError(f"h is {tuple(h.shape)}, c is {tuple(c.shape)}; write {tuple(zero.shape)} for both")
        return h, c


class Gates(NamedTuple):
    """What an LSTM computes at every step: i, f and o in [0, 1], g and h in [−1, 1], c unbounded."""

    i: Float[Tensor, "steps batch hidden"]
    f: Float[Tensor, "steps batch hidden"]
    g: Float[Tensor, "steps batch hidden"]
    o: Float[Tensor, "steps batch hidden"]
    c: Float[Tensor, "steps batch hidden"]
    h: Float[Tensor, "steps batch hidden"]


def manual_kernel(x: Inputs, state: State, weights: Weights) -> Outputs:
    """The equations with the hand-derived backward pass, which has no second derivatives."""
    (h,), (c,) = state
    output, c = ManualBackward.apply(x, h, c, *weights)
    return output, (output[-1:].clone(), c[None])


def native_kernel(x: Inputs, state: State, weights: Weights) -> Outputs:
    """torch's native kernel."""
    output, h, c = run_native(torch.lstm, x, state, weights)
    return output, (h, c)


def auto_kernel(x: Inputs, state: State, weights: Weights) -> Outputs:
    """The kernel that `fastest_kernel` chooses."""
    differentiated = torch.is_grad_enabled() and any(t.requires_grad for t in (x, *state, *weights))
    dtypes = {tensor.dtype for tensor in (x, *state, *weights)}
    float32 = dtypes == {torch.float32} and not torch.is_autocast_enabled(x.device.type)
    (steps, batch, _), hidden = x.shape, weights[1].shape[1]
    kernel = fastest_kernel(x.device.type, steps, batch, hidden, differentiated and float32)
    return KERNELS[kernel](x, state, weights)


MANUAL_FROM = 800_000
"""Steps × rows × hidden units from which training by the manual kernel is faster."""


def fastest_kernel(device: str, steps: int, batch: int, hidden: int, trains_in_float32: bool) -> str:
    """Returns "manual" for training in float32 on a CPU from `MANUAL_FROM` on, else "native".

    Measured for forward and backward (benchmarks/results/lstm_kernels.csv and lstm_sizes.csv). The native kernel keeps
    about twice as many numbers. From this size on they take more than 32 MB, which the C library requests from Linux
    anew for each batch, and each page that is touched for the first time costs time. With few rows, or weights that
    don't stay in the cache, the manual kernel's many products are slow. Forward alone, other precisions and other
    devices stay native: manual computes for its backward pass what nobody would use, doesn't follow autocast, and
    starts several kernels per step on a GPU.
    """
    large = steps * batch * hidden >= MANUAL_FROM and batch >= 64 and 32 <= hidden <= 128
    return "manual" if device == "cpu" and large and trains_in_float32 else "native"


KERNELS = {"auto": auto_kernel, "equations": equations_kernel, "manual": manual_kernel, "native": native_kernel}
