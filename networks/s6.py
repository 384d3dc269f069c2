"""The selective state-space model S6: a diagonal linear recurrence whose factors depend on the input.

    Δ⁽ᵗ⁾ = softplus(W_Δ x⁽ᵗ⁾ + b_Δ),   B⁽ᵗ⁾ = W_B x⁽ᵗ⁾,   C⁽ᵗ⁾ = W_C x⁽ᵗ⁾,   A = −exp(A_log)
    h⁽ᵗ⁾ = exp(Δ⁽ᵗ⁾ A) ⊙ h⁽ᵗ⁻¹⁾ + Δ⁽ᵗ⁾ x⁽ᵗ⁾ B⁽ᵗ⁾ᵀ          h: channels × state_size
    y⁽ᵗ⁾ = h⁽ᵗ⁾ C⁽ᵗ⁾ + D ⊙ x⁽ᵗ⁾

W_Δ is a product of two matrices of low rank. The step size Δ decides what a step does with the state: near 0 it keeps
it and ignores the input, large it forgets it and stores the input. A is discretised by zero-order hold and B by Euler's
rule, as in the paper's implementation.

The block is the paper's: a projection to x and to a gate, a causal convolution and SiLU on x, S6, the gate by SiLU, a
projection back, with RMSNorm and a residual connection. Two blocks stand in a row.

Gu & Dao 2023, "Mamba: Linear-time sequence modeling with selective state spaces" (https://arxiv.org/abs/2312.00752).
"""

import math
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from common.arguments import check_positive
from networks.blocks import Block, BlockNetwork, BlockState, CausalConvolution, Hidden
from networks.linear_recurrence import full_precision, linear_recurrence

Channels = Float[Tensor, "steps batch channels"]
PerState = Float[Tensor, "steps batch state"]
State = Float[Tensor, "1 batch state channels"]

SEGMENT = 32
"""Steps whose states are computed at once: without gradients, no more are in memory."""


def selective_scan(
    x: Channels, Δ: Channels, A: Float[Tensor, "state channels"], B: PerState, C: PerState, h: State
) -> tuple[Channels, State]:
    """Returns h⁽ᵗ⁾ C⁽ᵗ⁾ of every step, and the last h."""
    y = []
    for x_s, Δ_s, B_s, C_s in zip(x.split(SEGMENT), Δ.split(SEGMENT), B.split(SEGMENT), C.split(SEGMENT), strict=True):
        A_bar = torch.exp(Δ_s[:, :, None] * A)  # (steps, batch, state, channels)
        B_bar_x = B_s[..., None] @ (Δ_s * x_s)[:, :, None]  # (steps, batch, state, channels)
        states = linear_recurrence(A_bar, B_bar_x, h)
        y.append((C_s[:, :, None] @ states).squeeze(2))
        h = states[-1:]
    return torch.cat(y), h


class S6Block(Block):
    """x + the gated S6 of norm(x). The state is the last inputs of the convolution, and h."""

    def __init__(self, hidden_size: int, state_size: int, expand: int) -> None:
        super().__init__()
        channels = expand * hidden_size
        rank = math.ceil(hidden_size / 16)
        self.sizes = rank, state_size, state_size
        self.norm = nn.RMSNorm(hidden_size)
        self.in_projection = nn.Linear(hidden_size, 2 * channels, bias=False)
        self.convolution = CausalConvolution(channels)
        self.x_projection = nn.Linear(channels, sum(self.sizes), bias=False)
        self.delta = nn.Linear(rank, channels)
        self.A_log = nn.Parameter(torch.arange(1.0, state_size + 1).log()[:, None].repeat(1, channels))  # S4D-Real
        self.D = nn.Parameter(torch.ones(channels))
        self.out_projection = nn.Linear(channels, hidden_size, bias=False)

        nn.init.uniform_(self.delta.weight, -(rank**-0.5), rank**-0.5)
        step = torch.empty(channels).uniform_(math.log(1e-3), math.log(0.1)).exp()
        with torch.no_grad():
            self.delta.bias.copy_(step.expm1().log())  # softplus(bias) = step

    def start(self, x: Hidden) -> BlockState:
        return self.convolution.start(x), full_precision(x).new_zeros(1, x.shape[1], *self.A_log.shape)

    def forward(self, x: Hidden, state: BlockState) -> tuple[Hidden, BlockState]:
        inputs, h = state
        u, z = self.in_projection(self.norm(x)).chunk(2, dim=2)
        u, inputs = self.convolution(u, inputs)
        u = F.silu(u)
        Δ, B, C = self.x_projection(u).split(self.sizes, dim=2)
        Δ = F.softplus(full_precision(self.delta(Δ)))
        y, h = selective_scan(full_precision(u), Δ, -self.A_log.exp(), full_precision(B), full_precision(C), h)
        y = (y.to(u.dtype) + self.D * u) * F.silu(z)
        return x + self.out_projection(y), (inputs, h)


class S6(BlockNetwork):
    """Blocks of S6 that read `(steps, batch, input_size)`.

    Args:
        layers: number of blocks.
        state_size: numbers in h for each channel; the paper has 16.
        expand: channels inside a block for each hidden unit.

    Raises:
        ValueError: when a size is below 1.
    """

    def __init__(
        self, input_size: int, hidden_size: int, *, layers: int = 2, state_size: int = 8, expand: int = 2
    ) -> None:
        check_positive(state_size=state_size, expand=expand)
        super().__init__(input_size, hidden_size, layers, partial(S6Block, hidden_size, state_size, expand), nn.RMSNorm)
        self.state_size, self.expand = state_size, expand
