"""A greedy adversary: it picks the digits that a network reads while it has to remember the first one."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from common.palindrome import DIGITS

Step = Callable[[Int[Tensor, "batch steps"], Any], tuple[Float[Tensor, "batch classes"], Any]]
"""(digits, the state before them or None) → (logits for the first digit after the last one, the state then).

A state is a tensor whose second dimension is the batch, or a tuple or list of states.
"""


@torch.no_grad()
def greedy_adversary(step: Step, digits: Int[Tensor, "batch given"], length: int) -> Float[Tensor, "batch classes"]:
    """Continues the digits to `length` by the worst of the ten each time, and returns the logits after the last one.

    The worst digit leaves the smallest margin, which is the logit of the first digit minus the largest other logit. The
    adversary looks one digit ahead, and what it picks is no palindrome. Each digit takes one call of `step` with ten
    rows for each sequence.

    Raises:
        ValueError: when the network returns no state.
    """
    batch, given = digits.shape
    rows = torch.arange(batch, device=digits.device)
    candidates = torch.arange(DIGITS, device=digits.device).repeat(batch)[:, None]
    right = digits[:, :1].repeat_interleave(DIGITS, dim=0)
    logits, state = step(digits, None)
    if state is None:
        raise ValueError("the network returns no state, from which an adversary could try each next digit")
    for _ in range(length - given):
        logits, state = step(candidates, _rows(state, rows.repeat_interleave(DIGITS)))
        margin = logits.gather(1, right).squeeze(1) - logits.scatter(1, right, -torch.inf).amax(dim=1)
        rows = torch.arange(batch, device=digits.device) * DIGITS + margin.view(batch, DIGITS).argmin(dim=1)
    return logits[rows]


def _rows(state: Any, rows: Int[Tensor, " rows"]) -> Any:
    """The state of these rows of the batch."""
    return state[:, rows] if isinstance(state, Tensor) else tuple(_rows(part, rows) for part in state)
