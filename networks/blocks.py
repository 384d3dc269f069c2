"""What the networks of residual blocks share: the stack of blocks, the causal convolution and the MLP."""

from collections.abc import Callable, Iterable, Sequence
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from common.arguments import check_positive

Hidden = Float[Tensor, "steps batch hidden"]
Before = Float[Tensor, "before batch channels"]

BlockState = tuple[Tensor, ...]
"""The tensors that a block carries from call to call, with the batch in the second dimension, as an LSTM's h and c."""


def refuse_second_derivatives() -> None:
    """Raises RuntimeError in a backward pass that has no derivative, when autograd asks for its graph.

    `torch.autograd.function.once_differentiable` returns gradients without a graph instead, if those that it gets need
    none: then a gradient penalty would be a constant.
    """
    if torch.is_grad_enabled():
        raise RuntimeError("this kernel has no second derivatives (create_graph=True); write kernel='equations'")


class Block(nn.Module):
    """A residual block, which maps `(steps, batch, hidden)` and its state to the same shape and its next state."""

    def start(self, x: Hidden) -> BlockState:
        """Returns the state before the first step of x."""
        raise NotImplementedError

    def forward(self, x: Hidden, state: BlockState) -> tuple[Hidden, BlockState]:
        raise NotImplementedError


class BlockNetwork(nn.Module):
    """A linear layer to the hidden size, the blocks, and a norm: (steps, batch, input) → (steps, batch, hidden)."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        layers: int,
        make_block: Callable[[], Block],
        norm: Callable[[int], nn.Module],
    ) -> None:
        super().__init__()
        check_positive(input_size=input_size, hidden_size=hidden_size, layers=layers)
        self.input_size, self.hidden_size, self.layers = input_size, hidden_size, layers
        self.embedding = nn.Linear(input_size, hidden_size)
        self.blocks = nn.ModuleList(make_block() for _ in range(layers))
        self.norm = norm(hidden_size)

    def forward(
        self, x: Float[Tensor, "steps batch input"], state: Sequence[BlockState] | None = None
    ) -> tuple[Hidden, Sequence[BlockState] | None]:
        """Returns the output of every step and the state of each block, from which a next call can go on.

        Raises:
            ValueError: when x or the state has other shapes, or x has no steps.
        """
        check_sequence(x, self.input_size)
        x = self.embedding(x).to(self.embedding.weight.dtype)  # so that autocast doesn't round the sum of the blocks
        blocks = cast(Iterable[Block], self.blocks)
        start = [block.start(x) for block in blocks]
        state = start if state is None else state
        if _shapes(state) != _shapes(start):
            raise ValueError(f"the state has tensors of {_shapes(state)}; write {_shapes(start)}")
        after = []
        for block, before in zip(blocks, state, strict=True):
            x, next_state = block(x, before)
            after.append(tuple(tensor.clone() for tensor in next_state))  # not views, which keep all steps in memory
        return self.norm(x), after


def check_sequence(x: Tensor, input_size: int) -> None:
    """Raises ValueError unless x is `(steps, batch, input_size)` with 1 step or more."""
    if x.dim() != 3 or x.shape[0] < 1 or x.shape[2] != input_size:
        raise ValueError(f"x has shape {tuple(x.shape)}; write (steps of 1 or more, batch, {input_size})")


class CausalConvolution(nn.Module):
    """y⁽ᵗ⁾ = b + Σₖ wₖ ⊙ x⁽ᵗ⁻ᵏ⁾ for k = 0 … width − 1, each channel by itself.

    The state holds the last width − 1 inputs, 0 before the first step. Parameters start as those of `nn.Conv1d`.
    """

    def __init__(self, channels: int, width: int = 4) -> None:
        super().__init__()
        self.width = width
        bound = width**-0.5
        self.weight = nn.Parameter(torch.empty(width, channels).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(channels).uniform_(-bound, bound))

    def start(self, x: Hidden) -> Before:
        """Returns the inputs before the first step of x."""
        return x.new_zeros(self.width - 1, x.shape[1], self.weight.shape[1])

    def forward(self, x: Hidden, before: Before) -> tuple[Hidden, Before]:
        """Returns y of every step, and the last inputs."""
        inputs = torch.cat([before, x])
        y: Tensor = self.bias
        for k, w_k in enumerate(self.weight):
            first = self.width - 1 - k
            y = torch.addcmul(y, w_k, inputs[first : first + len(x)])
        return y, inputs[len(x) :]


def mlp(hidden_size: int) -> nn.Sequential:
    """Returns the usual MLP of a block, with GELU and four times as many units inside."""
    inside = 4 * hidden_size
    return nn.Sequential(nn.Linear(hidden_size, inside), nn.GELU(), nn.Linear(inside, hidden_size))


def _shapes(state: Sequence[BlockState]) -> list[tuple[int, ...]]:
    return [tuple(tensor.shape) for block in state for tensor in block]
