"""A module for any sequence task and any network of `networks/` that reads sequences."""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn

from common.eval_mode import evaluating
from common.palindrome import ADVERSARY, BLANK
from common.sharding import all_gather, sum_over_ranks
from common.targets import UNASKED
from lightning_modules.batches import input_and_target, one_hot
from lightning_modules.classifier import Classification
from metrics.adversary import greedy_adversary

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
        ValueError: when the network doesn't map sequences so; before the first batch, if the task has more symbols than
            the network reads.
    """

    _state: Any = None
    """The network's state after the last call of `read`."""

    def __init__(
        self,
        network: nn.Module,
        optimizer: OptimizerCallable = torch.optim.Adam,
        lr_scheduler: LRSchedulerCallable | None = None,
    ) -> None:
        super().__init__(network, optimizer, lr_scheduler)
        self.classes, hidden_size, self.has_state = _properties(network)
        self.readout = nn.Linear(hidden_size, self.classes)
        self._symbol_names = [*map(str, range(self.classes))]

    def setup(self, stage: str) -> None:
        super().setup(stage)
        names = getattr(getattr(self.trainer, "datamodule", None), "symbol_names", ())
        if len(names) > self.classes:
            raise ValueError(
                f"the task has {len(names)} symbols and {type(self.network).__name__} reads {self.classes}; write "
                f"--model.network.input_size {len(names)}"
            )
        self._symbol_names[: len(names)] = names

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compiles the network in place, with `torch.compile`'s arguments; the names of its weights stay.

        Raises:
            ValueError: when the network has a state: a compiler unrolls the recurrence, which gains nothing.
        """
        if self.has_state:
            raise ValueError(f"compiling {type(self.network).__name__} gains nothing; leave compile out")
        super().compile(*args, **kwargs)

    def forward(
        self, symbols: Int[Tensor, "steps batch"], state: Any = None
    ) -> tuple[Float[Tensor, "steps batch symbols"], Any]:
        """Returns the logits at each step, and the network's state, from which a next call can continue."""
        output, state = self.network(one_hot(self, symbols), state)
        return self.readout(output), state

    def logits_and_target(self, batch: Any) -> tuple[Float[Tensor, "targets symbols"], Int[Tensor, " targets"]]:
        symbols, targets = symbols_and_targets(batch)
        return self(symbols)[0].flatten(0, 1), targets.flatten()

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Logs the accuracy under the name of each batch, such as its length.

        Args:
            batch: a `datamodules.SequenceBatch`; a `datamodules.PalindromeChunk`, where the network continues from its
                state after the chunk before; or whole sequences and their targets.

        Raises:
            ValueError: when the batch is a part of a sequence, and the network has no state.
        """
        if getattr(batch, "case", "") == ADVERSARY:
            self._test_adversary(batch)
            return
        symbols, targets = symbols_and_targets(batch)
        starts, ends = getattr(batch, "starts", True), getattr(batch, "ends", True)
        if not (self.has_state or (starts and ends)):
            raise ValueError(
                f"{type(self.network).__name__} has no state, so it can't read a palindrome of {batch.length:,} digits "
                f"in parts of {PART:,}; test it at {PART:,} digits or fewer"
            )
        predictions = self.predictions(symbols, continues=not starts)
        if not ends:
            return
        asked = targets != UNASKED
        right, n = (sum_over_ranks(int(each.sum())) for each in (asked & (predictions == targets), asked))
        name = getattr(batch, "name", "")
        # Other loaders than the datamodules' may share a length, so their number is added.
        key, indexed = f"test/accuracy/{name or f'T={len(symbols)}'}", not name
        self.log(key, right / max(n, 1), batch_size=n, sync_dist=True, add_dataloader_idx=indexed)

    def _test_adversary(self, batch: Any) -> None:
        """Logs the accuracy on palindromes whose digits an adversary picks; nothing without a state."""

        def step(digits: Int[Tensor, "batch steps"], state: Any) -> tuple[Float[Tensor, "batch symbols"], Any]:
            logits, state = self(digits.T, state)
            return logits[-1], state

        if self.has_state:
            logits = greedy_adversary(step, batch.digits, batch.length - 1)
            right = all_gather((logits.argmax(dim=1) == batch.target).float())
            name = f"test/accuracy/{batch.name}"
            self.log(name, right.mean(), batch_size=len(right), sync_dist=True, add_dataloader_idx=False)

    def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> dict[str, list[str]]:
        """Columns `sequence`, `answer` (the targets) and `prediction` (where there is a target), each as text."""
        symbols, targets = symbols_and_targets(batch)
        predictions = self.predictions(symbols).where(targets != UNASKED, UNASKED)
        columns = {"sequence": symbols, "answer": targets, "prediction": predictions}
        return {name: [self._as_text(row) for row in rows.T.tolist()] for name, rows in columns.items()}

    def predictions(self, symbols: Int[Tensor, "steps batch"], continues: bool = False) -> Int[Tensor, "steps batch"]:
        """Returns the symbol with the largest logit at each step of a sequence that `read` reads."""
        return torch.cat([logits.argmax(dim=2) for logits in self.read(symbols, continues)])

    def read(
        self, symbols: Int[Tensor, "steps batch"], continues: bool = False
    ) -> Iterator[Float[Tensor, "part batch symbols"]]:
        """Yields the logits of a long sequence part by part; a network without a state reads the whole at once.

        Args:
            continues: whether the sequence continues the one of the last call.
        """
        state = self._state if continues else None
        for part in symbols.split(PART if self.has_state else len(symbols)):
            logits, state = self(part, state)
            yield logits
        self._state = state

    def _as_text(self, row: list[int]) -> str:
        return " ".join("-" if symbol == UNASKED else self._symbol_names[symbol] for symbol in row)


def symbols_and_targets(batch: Any) -> tuple[Int[Tensor, "steps batch"], Int[Tensor, "steps batch"]]:
    """Returns the two parts of a `datamodules.SequenceBatch`, also of a batch of palindromes.

    Raises:
        ValueError: when the batch isn't a pair of such tensors.
    """
    if not hasattr(batch, "digits"):
        symbols, targets = input_and_target(batch[:2] if hasattr(batch, "symbols") else batch)
        if symbols.dim() != 2 or symbols.shape != targets.shape or symbols.dtype != torch.int64:
            raise ValueError(
                f"this batch holds {symbols.dtype} {tuple(symbols.shape)} and {targets.dtype} {tuple(targets.shape)}; "
                "sequences are two int64 tensors (steps, batch), as of RecallDataModule"
            )
        return symbols, targets
    digits, target = batch.digits, batch.target
    symbols = F.pad(digits, (0, target.shape[1] if target.dim() == 2 else 0), value=BLANK).T
    targets = torch.full_like(symbols, UNASKED)
    answers = target.view(len(target), -1).T
    targets[-len(answers) :] = answers
    return symbols, targets


def _properties(network: nn.Module) -> tuple[int, int, bool]:
    """Returns `input_size`, `hidden_size`, and whether the network has a state."""
    name = type(network).__name__
    match getattr(network, "input_size", None), getattr(network, "hidden_size", None):
        case (int(input_size), int(hidden_size)):
            pass
        case _:
            raise ValueError(f"{name} has no input_size and hidden_size; give it both, as networks.lstm.LSTM has")
    if getattr(network, "batch_first", False):
        raise ValueError(f"{name} has batch_first; leave it out, because sequences are (steps, batch, {input_size})")
    like = next(network.parameters(), torch.empty(0))
    x = torch.zeros(3, 2, input_size, dtype=like.dtype, device=like.device)
    try:
        with evaluating(network):
            output, state = network(x, None)
        shape = tuple(output.shape)
    except (AttributeError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"{name} doesn't map x and a state to an output and the next state: {error}") from None
    if shape != (3, 2, hidden_size):
        raise ValueError(f"for x of (3, 2, {input_size}) {name} returns {shape}; return (3, 2, {hidden_size})")
    return input_size, hidden_size, state is not None
