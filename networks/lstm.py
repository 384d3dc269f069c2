"""The LSTM, from its equations.

An LSTM reads a sequence x⁽¹⁾ … x⁽ᵀ⁾ one step at a time. What it remembers lives in a cell state c, which a step
changes only through gates with values between 0 and 1: the forget gate f says how much of the cell to keep, the input
gate i how much of the candidate g to write, the output gate o how much to show as the hidden state h. With f at 1 and
i at 0 the cell stays as it is, and so does the gradient on its way back: that is why it can learn to remember. How a
trained network then does it, `scripts/plot_gates.py` draws.

    i⁽ᵗ⁾ = σ(W_ii x⁽ᵗ⁾ + W_hi h⁽ᵗ⁻¹⁾ + b_i)
    f⁽ᵗ⁾ = σ(W_if x⁽ᵗ⁾ + W_hf h⁽ᵗ⁻¹⁾ + b_f)
    g⁽ᵗ⁾ = tanh(W_ig x⁽ᵗ⁾ + W_hg h⁽ᵗ⁻¹⁾ + b_g)
    o⁽ᵗ⁾ = σ(W_io x⁽ᵗ⁾ + W_ho h⁽ᵗ⁻¹⁾ + b_o)
    c⁽ᵗ⁾ = f⁽ᵗ⁾ ⊙ c⁽ᵗ⁻¹⁾ + i⁽ᵗ⁾ ⊙ g⁽ᵗ⁾
    h⁽ᵗ⁾ = o⁽ᵗ⁾ ⊙ tanh(c⁽ᵗ⁾)

Hochreiter & Schmidhuber 1997, "Long short-term memory" (https://doi.org/10.1162/neco.1997.9.8.1735); the forget gate is
from Gers, Schmidhuber & Cummins 2000, "Learning to forget" (https://doi.org/10.1162/089976600300015015).
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

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


class Gates(NamedTuple):
    """What an LSTM computes at every step: i, f and o between 0 and 1, g and h between −1 and 1, c of any size."""

    i: Float[Tensor, "steps batch hidden"]
    f: Float[Tensor, "steps batch hidden"]
    g: Float[Tensor, "steps batch hidden"]
    o: Float[Tensor, "steps batch hidden"]
    c: Float[Tensor, "steps batch hidden"]
    h: Float[Tensor, "steps batch hidden"]


class LSTM(nn.Module):
    """One layer that reads `(steps, batch, input_size)`; parameters and results are those of `torch.nn.LSTM`.

    Args:
        kernel: "manual" runs the equations as they stand above, "native" hands the same parameters to torch's native
            kernel (oneDNN, cuDNN); "auto" is "native".
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
        for name, size in (("input_size", input_size), ("hidden_size", hidden_size)):
            if size < 1:
                raise ValueError(f"{name} is {size}; write 1 or more")
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
        weights = self.weight_ih_l0, self.weight_hh_l0, self.bias_ih_l0, self.bias_hh_l0
        return KERNELS[self.kernel](x, self._start(x, state), weights)

    def gates(self, x: Float[Tensor, "steps batch input"], state: State | None = None) -> Gates:
        """Everything that `forward` computes on its way, to look at.

        With h of all steps known, the gates of all steps are one product, whichever kernel gave h.

        Raises:
            ValueError: as `forward` does.
        """
        h_0, c = self._start(x, state)
        h, _ = self(x, (h_0, c))
        W_ih_x = F.linear(x, self.weight_ih_l0, self.bias_ih_l0 + self.bias_hh_l0)
        W_hh_h = F.linear(torch.cat([h_0, h[:-1]]), self.weight_hh_l0)
        i, f, g, o = (W_ih_x + W_hh_h).unflatten(2, (4, -1)).unbind(2)
        i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
        cells = []
        for t in range(len(x)):
            c = f[t] * c + i[t] * g[t]  # (1, batch, hidden)
            cells.append(c)
        return Gates(i, f, g, o, torch.cat(cells), h)

    def _start(self, x: Tensor, state: State | None) -> State:
        if x.dim() != 3 or x.shape[0] < 1 or x.shape[2] != self.input_size:
            raise ValueError(f"x has shape {tuple(x.shape)}; write (steps of 1 or more, batch, {self.input_size})")
        zero = x.new_zeros(1, x.shape[1], self.hidden_size)
        h, c = state or (zero, zero)
        if h.shape != zero.shape or c.shape != zero.shape:
            raise ValueError(f"h is {tuple(h.shape)}, c is {tuple(c.shape)}; write {tuple(zero.shape)} for both")
        return h, c


def manual_kernel(
    x: Float[Tensor, "steps batch input"], state: State, weights: Weights
) -> tuple[Float[Tensor, "steps batch hidden"], State]:
    """The equations and their derivatives, written out. It has no second derivatives."""
    (h,), (c,) = state
    output, c = _Gates.apply(x, h, c, *weights)
    return output, (output[-1:].clone(), c[None])


class _Gates(torch.autograd.Function):
    """The equations for all gates at once, and their derivatives without autograd's record of every operation.

    With z⁽ᵗ⁾ = [h⁽ᵗ⁻¹⁾, x⁽ᵗ⁾, 1] and W = [W_h, W_i, b] a step is one product, a⁽ᵗ⁾ = W z⁽ᵗ⁾, and the gates are σ or
    tanh of it. As tanh(a) = 2σ(2a) − 1, one σ serves all four. Backward, ∂y stands for the derivative of the loss by y:

        ∂h⁽ᵗ⁾ = ∂output⁽ᵗ⁾ + W_hᵀ ∂a⁽ᵗ⁺¹⁾
        ∂c⁽ᵗ⁾ = f⁽ᵗ⁺¹⁾ ⊙ ∂c⁽ᵗ⁺¹⁾ + ∂h⁽ᵗ⁾ ⊙ o⁽ᵗ⁾ ⊙ tanh′(c⁽ᵗ⁾)
        ∂i⁽ᵗ⁾ = ∂c⁽ᵗ⁾ ⊙ g⁽ᵗ⁾        ∂f⁽ᵗ⁾ = ∂c⁽ᵗ⁾ ⊙ c⁽ᵗ⁻¹⁾        ∂g⁽ᵗ⁾ = ∂c⁽ᵗ⁾ ⊙ i⁽ᵗ⁾        ∂o⁽ᵗ⁾ = ∂h⁽ᵗ⁾ ⊙ tanh(c⁽ᵗ⁾)
        ∂a⁽ᵗ⁾ = [∂i ⊙ σ′, ∂f ⊙ σ′, ∂g ⊙ tanh′, ∂o ⊙ σ′]
        ∂W   = Σₜ ∂a⁽ᵗ⁾ z⁽ᵗ⁾ᵀ

    The last sum grows step by step while ∂a⁽ᵗ⁾ is still in the cache: on a CPU that is quicker than to keep all ∂a for
    one product at the end, as it is quicker to take x in with h than in a product of its own for all steps.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, h0: Tensor, c0: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor]:
        W_ih, W_hh, b_ih, b_hh = weights
        (steps, batch, inputs), hidden = x.shape, W_hh.shape[1]
        unpadded = torch.cat([W_hh, W_ih, (b_ih + b_hh)[:, None]], dim=1)
        W = F.pad(unpadded, (0, -unpadded.shape[1] % ALIGNMENT))
        W[2 * hidden : 3 * hidden] *= 2  # g: 2σ(2a) − 1

        # A capital holds all steps, its small letter a list of them. h and c enter step t as h[t], c[t].
        Z = W.new_zeros(steps + 1, batch, W.shape[1])
        H, X, one = Z[:, :, :hidden], Z[:-1, :, hidden : hidden + inputs], Z[:, :, hidden + inputs]
        H[0], X[:], one[:] = h0, x, 1
        A = W.new_empty(steps, batch, 4 * hidden)
        C = W.new_empty(steps + 1, batch, hidden)
        C[0] = c0
        tanh_C = W.new_empty(steps, batch, hidden)
        z, h, a, c, tanh_c = Z.unbind(), H.unbind(), A.unbind(), C.unbind(), tanh_C.unbind()
        i, f, g, o = _gates(A)
        for t in range(steps):
            torch.mm(z[t], W.T, out=a[t]).sigmoid_()
            g[t].mul_(2).sub_(1)
            torch.mul(f[t], c[t], out=c[t + 1]).addcmul_(i[t], g[t])
            torch.mul(o[t], torch.tanh(c[t + 1], out=tanh_c[t]), out=h[t + 1])
        ctx.save_for_backward(Z, A, C, tanh_C, W_ih, W_hh)
        return H[1:], c[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, doutput: Tensor, dc: Tensor) -> tuple[Tensor | None, ...]:
        Z, A, C, tanh_C, W_ih, W_hh = ctx.saved_tensors
        z, c, tanh_c = Z.unbind(), C.unbind(), tanh_C.unbind()
        i, f, g, o = _gates(A)
        hidden, inputs = W_hh.shape[1], W_ih.shape[1]
        i_and_f = A[:, :, : 2 * hidden].unbind()

        da = torch.zeros_like(A[0])
        ((di,), (df,), (dg,), (do,)), di_and_df = _gates(da[None]), da[:, : 2 * hidden]
        dh, dc, dc_through_h = torch.empty_like(dc), dc.clone(), torch.empty_like(dc)
        dW = Z.new_zeros(4 * hidden, Z.shape[2])
        dX = Z.new_empty(len(A), len(dc), inputs) if ctx.needs_input_grad[0] else None
        for t in reversed(range(len(A))):
            torch.addmm(doutput[t], da, W_hh, out=dh)
            torch.mul(dh, o[t], out=dc_through_h)
            dc += tanh_backward(dc_through_h, tanh_c[t], grad_input=dc_through_h)
            torch.mul(dc, g[t], out=di)
            torch.mul(dc, c[t], out=df)
            torch.mul(dc, i[t], out=dg)
            torch.mul(dh, tanh_c[t], out=do)
            sigmoid_backward(di_and_df, i_and_f[t], grad_input=di_and_df)
            tanh_backward(dg, g[t], grad_input=dg)
            sigmoid_backward(do, o[t], grad_input=do)
            dW.addmm_(da.T, z[t])
            dc *= f[t]
            if dX is not None:
                torch.mm(da, W_ih, out=dX[t])
        dW_hh, dW_ih, db = dW[:, :hidden], dW[:, hidden : hidden + inputs], dW[:, hidden + inputs]
        return dX, da @ W_hh, dc, dW_ih, dW_hh, db, db.clone()


def _gates(stacked: Float[Tensor, "steps batch four_hidden"]) -> Iterator[tuple[Tensor, ...]]:
    """i, f, g and o, each as a tuple of steps: views into what holds all of them."""
    return (gate.unbind() for gate in stacked.unflatten(2, (4, -1)).unbind(2))


ALIGNMENT = 16
"""A product is quicker when its rows are multiples of this many numbers; on a CPU, a cache line of float32."""

# The derivative by a from that by σ(a) or tanh(a), given σ(a) or tanh(a); written where grad_input says.
sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input
tanh_backward = torch.ops.aten.tanh_backward.grad_input


def native_kernel(
    x: Float[Tensor, "steps batch input"], state: State, weights: Weights
) -> tuple[Float[Tensor, "steps batch hidden"], State]:
    """The same numbers, up to rounding, from torch's native kernel."""
    train = torch.is_grad_enabled()  # cuDNN keeps what backward needs only then; also in eval mode it may be needed
    output, h, c = torch.lstm(
        x, state, weights, has_biases=True, num_layers=1, dropout=0, train=train, bidirectional=False, batch_first=False
    )
    return output, (h, c)


KERNELS = {"auto": native_kernel, "manual": manual_kernel, "native": native_kernel}
