"""The LSTM's backward pass, derived by hand: `kernel: manual` of `networks.lstm`.

With z⁽ᵗ⁾ = [h⁽ᵗ⁻¹⁾, x⁽ᵗ⁾, 1] and W = [W_hh, W_ih, b]ᵀ a step is one product, a⁽ᵗ⁾ = z⁽ᵗ⁾ W, with the columns of the
gates i, f, g and o. As tanh(a) = 2σ(2a) − 1, one σ serves all four: s = σ([a_i, a_f, 2a_g, a_o]) and g = 2s_g − 1. As
σ′ = s (1 − s) and tanh′(a_g) = 4s_g (1 − s_g), the forward pass can compute the factors that the backward pass needs:

    G⁽ᵗ⁾ = [g⁽ᵗ⁾, c⁽ᵗ⁻¹⁾, 4i⁽ᵗ⁾, tanh(c⁽ᵗ⁾)] ⊙ s⁽ᵗ⁾ ⊙ (1 − s⁽ᵗ⁾)
    P⁽ᵗ⁾ = o⁽ᵗ⁾ ⊙ tanh′(c⁽ᵗ⁾)

In the backward pass, ∂y stands for the derivative of the loss with respect to y:

    ∂h⁽ᵗ⁾ = ∂output⁽ᵗ⁾ + ∂a⁽ᵗ⁺¹⁾ W_hh
    ∂c⁽ᵗ⁾ = ∂c⁽ᵗ⁺¹⁾ ⊙ f⁽ᵗ⁺¹⁾ + ∂h⁽ᵗ⁾ ⊙ P⁽ᵗ⁾
    ∂a⁽ᵗ⁾ = [∂c⁽ᵗ⁾, ∂c⁽ᵗ⁾, ∂c⁽ᵗ⁾, ∂h⁽ᵗ⁾] ⊙ G⁽ᵗ⁾
    ∂W   = Σₜ z⁽ᵗ⁾ᵀ ∂a⁽ᵗ⁾

On a CPU, matrix products and memory take most of the time. So x and h share one product, the factors are computed while
s⁽ᵗ⁾ is in the cache, and the sum grows step by step while ∂a⁽ᵗ⁾ is. Near 0, tanh by σ has the absolute error of numbers
near 1: 6e-8 in float32, too much in 16 bits.
"""

from typing import Any

import torch
from torch import Tensor

from networks.blocks import refuse_second_derivatives


class ManualBackward(torch.autograd.Function):
    """Maps x, h⁽⁰⁾, c⁽⁰⁾, W_ih, W_hh, b_ih and b_hh to h of all steps and the last c; once differentiable."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, h0: Tensor, c0: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor]:
        W_ih, W_hh, b_ih, b_hh = weights
        (steps, batch, inputs), hidden = x.shape, W_hh.shape[1]
        W = torch.cat([W_hh.T, W_ih.T, (b_ih + b_hh)[None]])
        W[:, 2 * hidden : 3 * hidden] *= 2  # s_g = σ(2a_g)

        # Upper case: a tensor of all steps. Step t starts from Z[t] and c, and writes h to Z[t + 1].
        Z = W.new_zeros(steps + 1, batch, len(W))
        H, X, one = Z.split([hidden, inputs, 1], dim=2)
        H[0], X[:-1], one[:] = h0, x, 1
        G = W.new_empty(steps, batch, 4 * hidden)
        P, F = W.new_empty(2, steps, batch, hidden)
        s, factors = W.new_empty(2, batch, 4 * hidden)
        i, f, s_g, o = s.chunk(4, dim=1)
        g, c_before, four_i, tanh_c = factors.chunk(4, dim=1)
        c, minus_one = c0.to(W.dtype, copy=True), W.new_full((), -1)
        by_step = (each.unbind() for each in (Z[:-1], H[1:], G, P, F))
        for z, h, G_t, P_t, F_t in zip(*by_step, strict=True):
            torch.mm(z, W, out=s).sigmoid_()
            torch.add(minus_one, s_g, alpha=2, out=g)
            c_before.copy_(c)
            c.mul_(f).addcmul_(i, g)
            torch.mul(c, 2, out=P_t).sigmoid_()
            torch.add(minus_one, P_t, alpha=2, out=tanh_c)  # a third of the time of torch's tanh
            torch.mul(o, tanh_c, out=h)
            torch.mul(i, 4, out=four_i)
            sigmoid_backward(factors, s, grad_input=G_t)
            tanh_backward(o, tanh_c, grad_input=P_t)
            F_t.copy_(f)
        ctx.save_for_backward(Z, G, P, F, W_ih, W_hh)
        return H[1:], c

    @staticmethod
    def backward(ctx: Any, doutput: Tensor, dc: Tensor) -> tuple[Tensor | None, ...]:
        refuse_second_derivatives()
        Z, G, P, F, W_ih, W_hh = ctx.saved_tensors
        steps, hidden, inputs = len(G), W_hh.shape[1], W_ih.shape[1]
        G_c, G_h = G[:, :, : 3 * hidden].unflatten(2, (3, hidden)), G[:, :, 3 * hidden :]
        z, p, f, g_c, g_h, douts = (each.unbind() for each in (Z, P, F, G_c, G_h, doutput))

        da = torch.empty_like(G[0])
        da_c, da_h = da[:, : 3 * hidden].unflatten(1, (3, hidden)), da[:, 3 * hidden :]
        dh, dc = doutput[-1].clone(), dc.clone()
        dW = Z.new_zeros(Z.shape[2], 4 * hidden)
        dX = Z.new_empty(steps, len(da), inputs) if ctx.needs_input_grad[0] else None
        for t in reversed(range(steps)):
            if t < steps - 1:
                torch.addmm(douts[t], da, W_hh, out=dh)
            dc.addcmul_(dh, p[t])
            torch.mul(dc[:, None], g_c[t], out=da_c)
            torch.mul(dh, g_h[t], out=da_h)
            dW.addmm_(z[t].T, da)
            dc *= f[t]
            if dX is not None:
                torch.mm(da, W_ih, out=dX[t])
        dW_hh, dW_ih, db = (rows.T for rows in dW.split([hidden, inputs, 1]))
        dh0 = da @ W_hh if ctx.needs_input_grad[1] else None
        return dX, dh0, dc, dW_ih, dW_hh, db[:, 0], db[:, 0].clone()


# From the derivatives with respect to σ(a) or tanh(a), and their values, those with respect to a, into `grad_input`.
sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input
tanh_backward = torch.ops.aten.tanh_backward.grad_input
