"""The minGRU: a GRU whose gate and candidate see only the input, so that its recurrence is linear in h.

    z⁽ᵗ⁾ = σ(W_z x⁽ᵗ⁾ + b_z)
    h̃⁽ᵗ⁾ = g(W_h x⁽ᵗ⁾ + b_h)                   g(u) = u + 0.5 for u ≥ 0, σ(u) for u < 0
    h⁽ᵗ⁾ = (1 − z⁽ᵗ⁾) ⊙ h⁽ᵗ⁻¹⁾ + z⁽ᵗ⁾ ⊙ h̃⁽ᵗ⁾

g keeps h positive, as the paper's computation in log space needs it. Ours needs no logarithms and keeps g, because the
paper's results have it.

A gate can't see the state, so one layer can't tell which token came before. The block adds a causal convolution in
front of the minGRU and an MLP behind it, each with a norm and a residual connection, and two blocks stand in a row.

Feng et al. 2024, "Were RNNs all we needed?" (https://arxiv.org/abs/2410.01201).
"""

from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from networks.blocks import Block, BlockNetwork, BlockState, CausalConvolution, Hidden, mlp
from networks.linear_recurrence import full_precision, linear_recurrence


def g(u: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """A continuous, increasing and positive function; equation in appendix B of the paper."""
    return torch.where(u >= 0, u + 0.5, torch.sigmoid(u))


class MinGRUBlock(Block):
    """Convolution, minGRU, MLP. The state is the last inputs of the convolution, and h."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.norm_1, self.norm_2, self.norm_3 = (nn.RMSNorm(hidden_size) for _ in range(3))
        self.convolution = CausalConvolution(hidden_size)
        self.z = nn.Linear(hidden_size, hidden_size)
        self.h = nn.Linear(hidden_size, hidden_size)
        self.mlp = mlp(hidden_size)

    def start(self, x: Hidden) -> BlockState:
        return self.convolution.start(x), torch.zeros_like(x[:1])

    def forward(self, x: Hidden, state: BlockState) -> tuple[Hidden, BlockState]:
        inputs, h = state
        y, inputs = self.convolution(self.norm_1(x), inputs)
        x = x + y

        y = self.norm_2(x)
        z = torch.sigmoid(full_precision(self.z(y)))  # in half precision 1 − z would be 1 for z below 0.002
        h_of_all_steps = linear_recurrence(1 - z, z * g(self.h(y)), h)
        x = x + h_of_all_steps.to(x.dtype)

        x = x + self.mlp(self.norm_3(x))
        return x, (inputs, h_of_all_steps[-1:])


class MinGRU(BlockNetwork):
    """Blocks of minGRU that read `(steps, batch, input_size)`.

    Args:
        layers: number of blocks.

    Raises:
        ValueError: when a size is below 1.
    """

    def __init__(self, input_size: int, hidden_size: int, *, layers: int = 2) -> None:
        super().__init__(input_size, hidden_size, layers, partial(MinGRUBlock, hidden_size), nn.RMSNorm)
