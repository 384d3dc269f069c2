"""The linear recurrent unit (LRU): a linear recurrence with constant, complex, diagonal factors.

    h⁽ᵗ⁾ = λ ⊙ h⁽ᵗ⁻¹⁾ + γ ⊙ B u⁽ᵗ⁾                 λ = exp(−exp(ν) + i exp(θ)), so |λ| < 1
    y⁽ᵗ⁾ = Re(C h⁽ᵗ⁾) + D ⊙ u⁽ᵗ⁾                  γ = √(1 − |λ|²) at the start

A unit keeps its input for about 1/(1 − |λ|) steps and rotates it by exp(θ) in each, whatever the input is: the LRU
stores and forgets everything alike. Only λ near the unit circle remembers for long, so λ starts in a ring, and γ keeps
the size of h the same for every λ.

Orvieto et al. 2023, "Resurrecting recurrent neural networks for long sequences" (https://arxiv.org/abs/2303.06349).
"""

import math
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from common.arguments import check_positive
from networks.blocks import Block, BlockNetwork, BlockState, Hidden
from networks.linear_recurrence import full_precision, linear_recurrence


class LRUBlock(Block):
    """x + GLU(GELU(LRU(norm(x)))). The state is h, complex."""

    def __init__(self, hidden_size: int, state_size: int, r_min: float, r_max: float, max_phase: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden_size)
        # λ uniform in the ring r_min ≤ |λ| ≤ r_max with angles up to max_phase; away from the ends, where ν is infinite
        u_1, u_2 = torch.rand(2, state_size).clamp(1e-6, 1 - 1e-6)
        self.nu_log = nn.Parameter(torch.log(-torch.log(u_1 * (r_max**2 - r_min**2) + r_min**2) / 2))
        self.theta_log = nn.Parameter(torch.log(max_phase * u_2))
        self.gamma_log = nn.Parameter(torch.log1p(-torch.exp(-2 * self.nu_log.detach().exp())) / 2)
        # Real and imaginary parts by themselves: `.double()`, optimizers and safetensors know no complex parameters.
        self.B_re, self.B_im = (nn.Parameter(_normal(state_size, hidden_size) / math.sqrt(2)) for _ in range(2))
        self.C_re, self.C_im = (nn.Parameter(_normal(hidden_size, state_size)) for _ in range(2))
        self.D = nn.Parameter(torch.randn(hidden_size))
        self.value, self.gate = nn.Linear(hidden_size, hidden_size), nn.Linear(hidden_size, hidden_size)

    def start(self, x: Hidden) -> BlockState:
        zero = full_precision(x).new_zeros(1, x.shape[1], len(self.nu_log))
        return (torch.complex(zero, zero),)

    def forward(self, x: Hidden, state: BlockState) -> tuple[Hidden, BlockState]:
        (h,) = state
        u = self.norm(x)
        Bu = torch.complex(full_precision(F.linear(u, self.B_re)), full_precision(F.linear(u, self.B_im)))
        λ = torch.polar(full_precision(torch.exp(-self.nu_log.exp())), full_precision(self.theta_log.exp()))
        h_of_all_steps = linear_recurrence(λ, self.gamma_log.exp() * Bu, h)  # (steps, batch, state), complex
        re, im = h_of_all_steps.real.to(u.dtype), h_of_all_steps.imag.to(u.dtype)
        y = F.gelu(F.linear(re, self.C_re) - F.linear(im, self.C_im) + self.D * u)
        return x + self.value(y) * torch.sigmoid(self.gate(y)), (h_of_all_steps[-1:],)


class LRU(BlockNetwork):
    """Blocks of LRU that read `(steps, batch, input_size)`.

    Args:
        layers: number of blocks.
        state_size: complex units of each block's h; by default `hidden_size`.
        r_min: smallest |λ| at the start, in [0, 1).
        r_max: largest |λ| at the start, in (r_min, 1].
        max_phase: largest angle of λ at the start, in radians, at most 2π. The paper takes a ring near 1, such as 0.9
            to 0.999, and small angles, such as π/10, for the longest sequences.

    Raises:
        ValueError: when a size is below 1, the ring is empty or leaves the unit circle, or `max_phase` is out of range.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        layers: int = 2,
        state_size: int | None = None,
        r_min: float = 0.0,
        r_max: float = 1.0,
        max_phase: float = 2 * math.pi,
    ) -> None:
        units = hidden_size if state_size is None else state_size
        check_positive(hidden_size=hidden_size, state_size=units)
        if not (0 <= r_min < r_max <= 1 and 0 < max_phase <= 2 * math.pi):
            raise ValueError(
                f"r_min is {r_min}, r_max {r_max} and max_phase {max_phase}; write 0 ≤ r_min < r_max ≤ 1 and a "
                "max_phase above 0, at most 2π"
            )
        make_block = partial(LRUBlock, hidden_size, units, r_min, r_max, max_phase)
        super().__init__(input_size, hidden_size, layers, make_block, nn.LayerNorm)
        self.state_size = state_size
        self.r_min, self.r_max, self.max_phase = r_min, r_max, max_phase


def _normal(rows: int, columns: int) -> torch.Tensor:
    """A matrix that keeps the variance of what it multiplies."""
    return torch.randn(rows, columns) / math.sqrt(columns)
