"""The LSTM's backward pass, derived by hand: `kernel: manual` of `networks.lstm`.

With z⁽ᵗ⁾ = [h⁽ᵗ⁻¹⁾, x⁽ᵗ⁾, 1] and W = [W_h, W_i, b] a step is one product, a⁽ᵗ⁾ = W z⁽ᵗ⁾, and the gates are σ or tanh of
it. As tanh(a) = 2σ(2a) − 1, one σ serves all four. In the backward pass, ∂y stands for the derivative of the loss with
respect to y:

    ∂h⁽ᵗ⁾ = ∂output⁽ᵗ⁾ + W_hᵀ ∂a⁽ᵗ⁺¹⁾
    ∂c⁽ᵗ⁾ = f⁽ᵗ⁺¹⁾ ⊙ ∂c⁽ᵗ⁺¹⁾ + ∂h⁽ᵗ⁾ ⊙ o⁽ᵗ⁾ ⊙ tanh′(c⁽ᵗ⁾)
    ∂i⁽ᵗ⁾ = ∂c⁽ᵗ⁾ ⊙ g⁽ᵗ⁾        ∂f⁽ᵗ⁾ = ∂c⁽ᵗ⁾ ⊙ c⁽ᵗ⁻¹⁾        ∂g⁽ᵗ⁾ = ∂c⁽ᵗ⁾ ⊙ i⁽ᵗ⁾        ∂o⁽ᵗ⁾ = ∂h⁽ᵗ⁾ ⊙ tanh(c⁽ᵗ⁾)
    ∂a⁽ᵗ⁾ = [∂i ⊙ σ′, ∂f ⊙ σ′, ∂g ⊙ tanh′, ∂o ⊙ σ′]
    ∂W   = Σₜ ∂a⁽ᵗ⁾ z⁽ᵗ⁾ᵀ

The sum grows step by step while ∂a⁽ᵗ⁾ is in the cache. On a CPU that is faster than keeping all ∂a for one product at
the end, and one product for x and h together is faster than one for x of all steps and one for h of each.
"""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable


class ManualBackward(torch.autograd.Function):
    """Maps x, h⁽⁰⁾, c⁽⁰⁾, W_ih, W_hh, b_ih and b_hh to h of all steps and the last c; once differentiable."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, h0: Tensor, c0: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor]:
        W_ih, W_hh, b_ih, b_hh = weights
        (steps, batch, inputs), hidden = x.shape, W_hh.shape[1]
        unpadded = torch.cat([W_hh, W_ih, (b_ih + b_hh)[:, None]], dim=1)
        W = F.pad(unpadded, (0, -unpadded.shape[1] % ALIGNMENT))
        W[2 * hidden : 3 * hidden] *= 2  # g: 2σ(2a) − 1

        # Upper case: a tensor of all steps. Lower case: a list of its steps. Step t starts from h[t] and c[t].
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
    """Returns i, f, g and o, each as a tuple of the steps' views."""
    return (gate.unbind() for gate in stacked.unflatten(2, (4, -1)).unbind(2))


ALIGNMENT = 16
"""Products are faster if the rows are multiples of this many numbers; on a CPU, a cache line of float32."""

# From the derivatives with respect to σ(a) or tanh(a), and their values, those with respect to a, into `grad_input`.
sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input
tanh_backward = torch.ops.aten.tanh_backward.grad_input
