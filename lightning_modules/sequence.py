"""A module for any sequence task and any network of `networks/` that reads sequences."""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn

from common.eval_mode import evaluating
from common.palindrome import ADVERSARY
from common.sharding import all_gather
from lightning_modules.batches import input_and_target
from lightning_modules.classifier import UNASKED, Classification
from metrics.adversary import greedy_adversary

BLANK = 10
"""The symbol that a network reads where it has to write the second half of a palindrome."""
PART = 4096
"""Steps that a test reads at once."""


class SequenceModel(Classification):
    """One-hot symbols → network → linear layer at each step → a logit for each symbol, as in a language model.

    Args:
        network: maps x `(steps, batch, input_size)` and a state or None to `(steps, batch, hidden_size)` and the next
            state, None if it has none; `input_size` is the number of symbols. `torch.nn.LSTM` is such a network.
        optimizer: class or partial that takes the parameters.
        lr_scheduler: class or partial that takes the optimizer; steps with every batch. Without a length
            (`total_iters`, `total_steps` or `T_max`) it lasts for the trainer's `max_steps`.

    Raises:
        ValueError: when the network doesn't map sequences so; when training starts, if the task has more symbols than
            the network reads.
    """

    def __init__(
        self,
        network: nn.Module,
        optimizer: OptimizerCallable = torch.optim.Adam,
        lr_scheduler: LRSchedulerCallable | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.optimizer = optimizer
        self.lr_scheduler = lr_scheduler
        self.classes, hidden_size = _sizes(network)
        self.readout = nn.Linear(hidden_size, self.classes)

    def setup(self, stage: str) -> None:
        super().setup(stage)
        names = getattr(getattr(self.trainer, "datamodule", None), "symbol_names", ())
        if len(names) > self.classes:
            raise ValueError(
                f"the task has {len(names)} symbols and {type(self.network).__name__} reads {self.classes}; write "
                f"--model.network.input_size {len(names)}"
            )

    def forward(
        self, symbols: Int[Tensor, "steps batch"], state: Any = None
    ) -> tuple[Float[Tensor, "steps batch symbols"], Any]:
        """Returns the logits at each step, and the network's state, from which a next call can continue."""
        x = F.one_hot(symbols, self.classes).to(self.readout.weight.dtype)
        output, state = self.network(x, state)
        return self.readout(output), state

    def logits_and_target(self, batch: Any) -> tuple[Float[Tensor, "targets symbols"], Int[Tensor, " targets"]]:
        symbols, targets = symbols_and_targets(batch)
        return self(symbols)[0].flatten(0, 1), targets.flatten()

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Logs the accuracy under the name of each batch, such as its length."""
        if getattr(batch, "case", "") == ADVERSARY:
            self._test_adversary(batch)
            return
        symbols, targets = symbols_and_targets(batch)
        right = torch.cat([logits.argmax(dim=2) for logits in self.read(symbols)]) == targets
        asked = int((targets != UNASKED).sum())
        name = getattr(batch, "name", "") or f"T={len(symbols)}"
        accuracy = right.sum() / asked
        self.log(f"test/accuracy/{name}", accuracy, batch_size=asked, sync_dist=True, add_dataloader_idx=False)

    def _test_adversary(self, batch: Any) -> None:
        """Logs the accuracy on palindromes whose digits an adversary picks; nothing without a state."""

        def step(digits: Int[Tensor, "batch steps"], state: Any) -> tuple[Float[Tensor, "batch symbols"], Any]:
            logits, state = self(digits.T, state)
            return logits[-1], state

        if step(batch.digits, None)[1] is not None:
            logits = greedy_adversary(step, batch.digits, batch.length - 1)
            right = all_gather((logits.argmax(dim=1) == batch.target).float())
            name = f"test/accuracy/{batch.name}"
            self.log(name, right.mean(), batch_size=len(right), sync_dist=True, add_dataloader_idx=False)

    def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> dict[str, list[str]]:
        """Columns `sequence`, `answer` (the targets) and `prediction` (where there is a target), each as text."""
        symbols, targets = symbols_and_targets(batch)
        predictions = torch.cat([logits.argmax(dim=2) for logits in self.read(symbols)])
        predictions = predictions.where(targets != UNASKED, UNASKED)
        names = getattr(getattr(self.trainer, "datamodule", None), "symbol_names", [*map(str, range(self.classes))])
        columns = {"sequence": symbols, "answer": targets, "prediction": predictions}
        return {name: [_as_text(row, names) for row in rows.T.tolist()] for name, rows in columns.items()}

    def read(self, symbols: Int[Tensor, "steps batch"]) -> Iterator[Float[Tensor, "part batch symbols"]]:
        """Yields the logits of a long sequence part by part; a network without a state reads the whole at once."""
        parts = symbols.split(PART)
        state: Any = None
        for part in parts:
            logits, state = self(part, state)
            if state is None and len(parts) > 1:
                yield self(symbols)[0]
                return
            yield logits


def symbols_and_targets(batch: Any) -> tuple[Int[Tensor, "steps batch"], Int[Tensor, "steps batch"]]:
    """Returns the two parts of a `datamodules.SequenceBatch`, also of a batch of palindromes.

    Raises:
        ValueError: when the batch isn't a pair of tensors, or is a part of a sequence.
    """
    if not hasattr(batch, "digits"):
        return input_and_target(batch[:2] if hasattr(batch, "symbols") else batch)
    digits, target = batch.digits, batch.target
    symbols = F.pad(digits, (0, target.shape[1] if target.dim() == 2 else 0), value=BLANK).T
    targets = torch.full_like(symbols, UNASKED)
    answers = target.view(len(target), -1).T
    targets[-len(answers) :] = answers
    return symbols, targets


def _sizes(network: nn.Module) -> tuple[int, int]:
    """Returns `input_size` and `hidden_size`."""
    name = type(network).__name__
    sizes = tuple(getattr(network, size, None) for size in ("input_size", "hidden_size"))
    match sizes:
        case (int(input_size), int(hidden_size)):
            pass
        case _:
            raise ValueError(f"{name} has no input_size and hidden_size; give it both, as networks.lstm.LSTM has")
    like = next(network.parameters(), torch.empty(0))
    x = torch.zeros(1, 2, input_size, dtype=like.dtype, device=like.device)
    with evaluating(network):
        output, _ = network(x, None)
    if output.shape != (1, 2, hidden_size):
        raise ValueError(
            f"for x of (1, 2, {input_size}) {name} returns {tuple(output.shape)}; write (1, 2, {hidden_size})"
        )
    return input_size, hidden_size


def _as_text(row: list[int], names: list[str]) -> str:
    return " ".join("-" if symbol == UNASKED else names[symbol] for symbol in row)
