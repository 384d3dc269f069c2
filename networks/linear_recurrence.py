"""The linear recurrence h⁽ᵗ⁾ = a⁽ᵗ⁾ ⊙ h⁽ᵗ⁻¹⁾ + b⁽ᵗ⁾, the core of minGRU, LRU and S6.

Every unit runs by itself, and nothing stands between a step and the next but a factor a. So the backward pass is a
linear recurrence as well, in reverse time with the conjugate factors. ∂y stands for the derivative of the loss with
respect to y:

    ∂h⁽ᵗ⁾ = ∂output⁽ᵗ⁾ + a⁽ᵗ⁺¹⁾* ⊙ ∂h⁽ᵗ⁺¹⁾
    ∂b⁽ᵗ⁾ = ∂h⁽ᵗ⁾        ∂a⁽ᵗ⁾ = ∂h⁽ᵗ⁾ ⊙ h⁽ᵗ⁻¹⁾*        ∂h⁽⁰⁾ = a⁽¹⁾* ⊙ ∂h⁽¹⁾

Martin & Cundy 2018, "Parallelizing linear recurrent neural nets over sequence length"
(https://arxiv.org/abs/1709.04057).
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Inexact
from torch import Tensor

from common.arguments import check_choice
from networks.blocks import refuse_second_derivatives

Steps = Inexact[Tensor, "steps batch *units"]
State = Inexact[Tensor, "1 batch *units"]
Factors = Steps | Inexact[Tensor, "*units"]
"""Factors of every step, or constant ones."""


def equations_kernel(a: Factors, b: Steps, h: State) -> Steps:
    """The equation, step by step; autograd differentiates it."""
    (h_t,) = h  # (batch, *units)
    output = []
    for a_t, b_t in zip(a.expand(b.shape), b, strict=True):
        h_t = a_t * h_t + b_t
        output.append(h_t)
    return torch.stack(output)


def linear_recurrence(a: Factors, b: Steps, h: State | None = None, *, kernel: str = "auto") -> Steps:
    """Returns h of every step.

    Args:
        a: the factors, real or complex, of the same shape as b, or `(*units)` for constant ones.
        b: the inputs.
        h: the state before the first step; 0 by default.
        kernel: what computes it, with equal results up to rounding:
            equations: `equations_kernel` above.
            manual: one step after the other in place, forward and backward; no second derivatives.
            chunked: all chunks of `CHUNK` steps side by side, for accelerators; no second derivatives.
            auto: manual on a CPU, else chunked.

    Half precision is computed in float32, because rounding adds up over the steps.

    Raises:
        ValueError: when the kernel isn't known.
    """
    check_choice("kernel", kernel, KERNELS)
    if h is None:
        h = b.new_zeros(1, *b.shape[1:])
    dtype = torch.promote_types(torch.promote_types(a.dtype, b.dtype), torch.float32)
    return KERNELS[kernel](a.to(dtype), b.to(dtype), h.to(dtype))


def full_precision(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Returns half precision, which autocast makes of products, as float32, and others as they are."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


Solver = Callable[[Steps, Steps, State, bool], Tensor]
"""Maps a, b and the state before the first step to h of all steps: h[t] = b[t] + a[t] h[t − 1].

In reverse, from the state after the last step, which is 0: h[t] = b[t] + a[t + 1] h[t + 1].
"""


class ManualBackward(torch.autograd.Function):
    """Maps a, b and h⁽⁰⁾ to h of all steps, by a solver in both directions; once differentiable."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, h0: Tensor, solve: Solver) -> Tensor:
        h = solve(a.expand(b.shape), b, h0, False)
        ctx.save_for_backward(a, h0, h)
        ctx.solve = solve
        return h

    @staticmethod
    def backward(ctx: Any, doutput: Tensor) -> tuple[Tensor | None, ...]:
        refuse_second_derivatives()
        a, h0, h = ctx.saved_tensors
        factors = a.conj().resolve_conj().expand(h.shape)
        dh = ctx.solve(factors, doutput, torch.zeros_like(h0), True)
        da = gradient_of_factors(dh, h0, h, a.dim() < h.dim()) if ctx.needs_input_grad[0] else None
        return da, dh, factors[:1] * dh[:1], None


def gradient_of_factors(dh: Steps, h0: State, h: Steps, constant: bool) -> Tensor:
    """Returns ∂a⁽ᵗ⁾ = ∂h⁽ᵗ⁾ ⊙ h⁽ᵗ⁻¹⁾*, or for constant factors its sum over steps and batch."""
    if constant:  # few steps at a time, which stay in the cache
        pairs = zip(dh[1:].split(16), h[:-1].split(16), strict=True)
        return sum(((dh_s * h_s.conj()).sum((0, 1)) for dh_s, h_s in pairs), (dh[0] * h0[0].conj()).sum(0))
    da = torch.empty_like(dh)
    torch.mul(dh[:1], h0.conj(), out=da[:1])
    torch.mul(dh[1:], h[:-1].conj(), out=da[1:])
    return da


def solve_step_by_step(a: Steps, b: Steps, h: State, reverse: bool) -> Tensor:
    """One operation per step, which writes where its result belongs."""
    output = torch.empty_like(b)
    factors, inputs, results = a.unbind(), b.unbind(), output.unbind()
    if reverse:  # starts with a factor that multiplies 0, so any will do
        factors, inputs, results = factors[:1] + factors[:0:-1], inputs[::-1], results[::-1]
    (h_t,) = h
    for a_t, b_t, result in zip(factors, inputs, results, strict=True):
        h_t = torch.addcmul(b_t, a_t, h_t, out=result)
    return output


CHUNK = 64
"""Steps in a chunk."""


def solve_in_chunks(a: Steps, b: Steps, h: State, reverse: bool) -> Tensor:
    """Doubles the solved distance within all chunks at once, then solves the ends of the chunks in the same way.

    That takes 2 log₂ CHUNK operations for every factor CHUNK of the length. Nothing is divided by a product of factors,
    so factors near 0 do no harm.
    """
    if reverse:
        return solve_in_chunks(torch.cat([a[:1], a[1:].flip(0)]), b.flip(0), h, False).flip(0)
    steps = len(b)
    size = min(CHUNK, steps)
    padding = torch.zeros_like(b[: -steps % size])
    # P[c, t] becomes the product of the factors, and H[c, t] the solution, of chunk c from its start to its step t.
    P = torch.cat([a, padding]).unflatten(0, (-1, size))
    H = torch.cat([torch.addcmul(b[:1], a[:1], h), b[1:], padding]).unflatten(0, (-1, size))
    distance = 1
    while distance < size:
        H = torch.cat([H[:, :distance], torch.addcmul(H[:, distance:], P[:, distance:], H[:, :-distance])], dim=1)
        P = torch.cat([P[:, :distance], P[:, distance:] * P[:, :-distance]], dim=1)
        distance *= 2
    if len(H) > 1:
        ends = solve_in_chunks(P[:, -1], H[:, -1], torch.zeros_like(h), False)
        H[1:].addcmul_(P[1:], ends[:-1, None])
    solution: Tensor = H.flatten(0, 1)[:steps]
    return solution


def manual_kernel(a: Factors, b: Steps, h: State) -> Steps:
    """One step after the other, with the hand-derived backward pass."""
    result: Tensor = ManualBackward.apply(a, b, h, solve_step_by_step)
    return result


def chunked_kernel(a: Factors, b: Steps, h: State) -> Steps:
    """All chunks side by side, with the hand-derived backward pass."""
    result: Tensor = ManualBackward.apply(a, b, h, solve_in_chunks)
    return result


def auto_kernel(a: Factors, b: Steps, h: State) -> Steps:
    """Manual on a CPU, where an operation on one step costs little to start, else chunked."""
    return (manual_kernel if b.device.type == "cpu" else chunked_kernel)(a, b, h)


KERNELS = {"auto": auto_kernel, "equations": equations_kernel, "manual": manual_kernel, "chunked": chunked_kernel}
