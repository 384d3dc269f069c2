"""The GRU, a gated network with one state and two gates.

The update gate z decides how much of the old hidden state h stays, the reset gate r how much of it the candidate n
sees. With z = 1 the hidden state stays as it is.

Cho et al. 2014, "Learning phrase representations using RNN encoder-decoder for statistical machine translation"
(https://arxiv.org/abs/1406.1078). As in `torch.nn.GRU` and cuDNN, and unlike in the paper, r scales the product
W_hn h + b_hn instead of h.
"""

from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from common.arguments import check_choice
from networks.initialisers import GRU_INITIALISERS, GRUInit
from networks.recurrent import Inputs, Outputs, Recurrent, State, run_native

Weights = tuple[
    Float[Tensor, "3*hidden input"],
    Float[Tensor, "3*hidden hidden"],
    Float[Tensor, " 3*hidden"],
    Float[Tensor, " 3*hidden"],
]
"""W_ih, W_hh, b_ih and b_hh, each with the rows of r, z, n one below the other, as in `nn.GRU`."""


def equations_kernel(x: Inputs, state: State, weights: Weights) -> Outputs:
    """The four equations, step by step; autograd differentiates them."""
    (h,) = state  # (batch, hidden)
    W_ih, W_hh, b_ih, b_hh = weights
    W_ir, W_iz, W_in = W_ih.chunk(3)  # (hidden, input)
    W_hr, W_hz, W_hn = W_hh.chunk(3)  # (hidden, hidden)
    b_ir, b_iz, b_in = b_ih.chunk(3)  # (hidden)
    b_hr, b_hz, b_hn = b_hh.chunk(3)  # (hidden)
    output = []
    for x_t in x:  # (batch, input)
        r = torch.sigmoid(x_t @ W_ir.T + b_ir + h @ W_hr.T + b_hr)  # (batch, hidden)
        z = torch.sigmoid(x_t @ W_iz.T + b_iz + h @ W_hz.T + b_hz)  # (batch, hidden)
        n = torch.tanh(x_t @ W_in.T + b_in + r * (h @ W_hn.T + b_hn))  # (batch, hidden)
        h = (1 - z) * n + z * h  # (batch, hidden)
        output.append(h)
    return torch.stack(output), h[None]


class GRU(Recurrent):
    """One layer that reads `(steps, batch, input_size)`; parameters and results are those of `torch.nn.GRU`.

    Args:
        kernel: equations (`equations_kernel` above), native (torch's kernel: oneDNN, cuDNN) or auto (native), with
            equal results up to rounding.
        init: a name in `networks.initialisers.GRU_INITIALISERS`.
        horizon: the longest length to remember; "update_log" needs it.

    Raises:
        ValueError: when a size is below 1, a name isn't known, or the horizon is missing.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        kernel: str = "auto",
        init: GRUInit = "torch",
        horizon: int | None = None,
    ) -> None:
        check_choice("kernel", kernel, KERNELS)
        check_choice("init", init, GRU_INITIALISERS)
        super().__init__("GRU", input_size, hidden_size, partial(GRU_INITIALISERS[init], horizon=horizon))
        self.kernel, self.init, self.horizon = kernel, init, horizon

    def forward(self, x: Inputs, h: State | None = None) -> Outputs:
        """Returns h of every step and the last one, from which a next call can go on; without an h, starts at 0.

        Raises:
            ValueError: when x or h has another shape, or x has no steps.
        """
        return self.run(KERNELS[self.kernel], x, self.start(x, h))


def native_kernel(x: Inputs, state: State, weights: Weights) -> Outputs:
    """torch's native kernel."""
    return run_native(torch.gru, x, state, weights)


KERNELS = {"auto": native_kernel, "equations": equations_kernel, "native": native_kernel}
