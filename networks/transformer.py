"""A causal transformer: every step looks at all steps up to its own.

    x ← x + Attention(norm(x))          Attention: softmax(q kᵀ / √d + bias) v in each head
    x ← x + MLP(norm(x))

It has no state that it updates: it keeps every step and compares with all of them, so the work grows with the square of
the length. Without positions only the causal mask tells one order of the steps from another.

Vaswani et al. 2017, "Attention is all you need" (https://arxiv.org/abs/1706.03762), with the norm first. RoPE: Su et
al. 2021, "RoFormer" (https://arxiv.org/abs/2104.09864). ALiBi: Press et al. 2021, "Train short, test long"
(https://arxiv.org/abs/2108.12409).
"""

from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from common.arguments import check_choice, check_positive
from networks.blocks import Block, BlockNetwork, BlockState, Hidden, mlp

Heads = Float[Tensor, "batch heads steps size"]

POSITIONS = "none", "rope", "alibi"

QUERIES = 512
"""Steps for which ALiBi's bias is in memory at once: QUERIES × steps numbers for each head."""


def rotate(x: Heads) -> Heads:
    """RoPE: turns the i-th pair of numbers of step t by t · 10000^(−2i/size), so that q kᵀ depends on distances."""
    steps, size = x.shape[2:]
    frequency = 10_000 ** (-torch.arange(0, size, 2, device=x.device) / size)
    angle = torch.arange(steps, device=x.device)[:, None] * frequency  # (steps, size / 2)
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    first, second = x.chunk(2, dim=3)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=3)


def alibi_slopes(heads: int) -> Float[Tensor, " heads"]:
    """Returns 2^(−8n/heads) for head n = 1 … heads: 1/2, 1/4 … 1/256 for 8 heads."""
    return 2 ** (-8 * torch.arange(1, heads + 1) / heads)


def alibi_attention(q: Heads, k: Heads, v: Heads, slopes: Float[Tensor, " heads"]) -> Heads:
    """Causal attention with −slope · (t − s) added where step t looks at step s."""
    steps = q.shape[2]
    position = torch.arange(steps, device=q.device)
    output = []
    for start in range(0, steps, QUERIES):
        stop = min(start + QUERIES, steps)
        distance = position[start:stop, None] - position[:stop]
        bias = (-slopes[:, None, None] * distance).masked_fill(distance < 0, -torch.inf)
        queries = q[:, :, start:stop]
        output.append(F.scaled_dot_product_attention(queries, k[:, :, :stop], v[:, :, :stop], bias.to(q.dtype)))
    return torch.cat(output, dim=2)


class TransformerBlock(Block):
    """Attention and MLP. It has no state."""

    slopes: Tensor

    def __init__(self, hidden_size: int, heads: int, positions: str) -> None:
        super().__init__()
        self.heads, self.positions = heads, positions
        self.norm_1, self.norm_2 = nn.LayerNorm(hidden_size), nn.LayerNorm(hidden_size)
        self.qkv = nn.Linear(hidden_size, 3 * hidden_size)
        self.projection = nn.Linear(hidden_size, hidden_size)
        self.mlp = mlp(hidden_size)
        self.register_buffer("slopes", alibi_slopes(heads), persistent=False)

    def start(self, x: Hidden) -> BlockState:
        return ()

    def forward(self, x: Hidden, state: BlockState) -> tuple[Hidden, BlockState]:
        qkv = self.qkv(self.norm_1(x)).unflatten(2, (3, self.heads, -1))  # (steps, batch, 3, heads, size)
        q, k, v = qkv.permute(2, 1, 3, 0, 4)  # (batch, heads, steps, size)
        if self.positions == "rope":
            q, k = rotate(q), rotate(k)
        if self.positions == "alibi":
            y = alibi_attention(q, k, v, self.slopes)
        else:
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.projection(y.permute(2, 0, 1, 3).flatten(2))
        return x + self.mlp(self.norm_2(x)), ()


class Transformer(BlockNetwork):
    """Blocks of attention that read `(steps, batch, input_size)`, a whole sequence in one call.

    Args:
        layers: number of blocks.
        heads: number of heads, which share the hidden size.
        positions: none, rope or alibi.

    Raises:
        ValueError: when a size is below 1, the hidden size doesn't divide by the heads, or by twice as many with rope,
            or the positions aren't known.
    """

    def __init__(
        self, input_size: int, hidden_size: int, *, layers: int = 2, heads: int = 4, positions: str = "rope"
    ) -> None:
        check_positive(heads=heads)
        check_choice("positions", positions, POSITIONS)
        divisor = 2 * heads if positions == "rope" else heads
        if hidden_size % divisor:
            raise ValueError(f"hidden_size is {hidden_size}; write a multiple of {divisor} for {heads} heads")
        super().__init__(
            input_size, hidden_size, layers, partial(TransformerBlock, hidden_size, heads, positions), nn.LayerNorm
        )
        self.heads, self.positions = heads, positions

    def forward(
        self, x: Float[Tensor, "steps batch input"], state: Sequence[BlockState] | None = None
    ) -> tuple[Hidden, None]:
        """Returns the output of every step, and None.

        Raises:
            ValueError: when a state is given, x has another shape, or x has no steps.
        """
        if state is not None:
            raise ValueError("a transformer has no state; read the whole sequence in one call")
        output, _ = super().forward(x)
        return output, None
