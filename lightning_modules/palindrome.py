"""Palindrome tasks: read the first digits of a palindrome and predict the others from memory.

With `target: last` the network reads all digits but the last and predicts the last one, which is the first one it read.
With `target: second_half` it reads the first ⌈T/2⌉ digits, then blanks, an eleventh symbol; at each blank it predicts
the next digit.
"""

from typing import Any, NoReturn

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn

from common.arguments import check_choice
from common.palindrome import ADVERSARY, BLANK, DIGITS, Target
from common.sharding import all_gather
from lightning_modules.batches import input_and_target, one_hot
from lightning_modules.classifier import Classification
from metrics.adversary import greedy_adversary
from networks.initialisers import LSTMInit, RNNInit
from networks.lstm import LSTM
from networks.rnn import RNN

SYMBOLS: dict[Target, int] = {"last": DIGITS, "second_half": DIGITS + 1}
"""The number of symbols that the network reads, for each target."""


class _Palindrome(Classification):
    """One-hot symbols → recurrent network → linear layer at each step with a target → logits."""

    network: LSTM | RNN
    _state: Any = None
    """The network's state after the last chunk of a test."""

    def __init__(
        self, network: LSTM | RNN, optimizer: OptimizerCallable, lr_scheduler: LRSchedulerCallable | None
    ) -> None:
        super().__init__(network, optimizer, lr_scheduler)
        self.readout = nn.Linear(network.hidden_size, DIGITS)

    def compile(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raises ValueError: a compiler unrolls the recurrence and doesn't make it faster than the kernels."""
        raise ValueError(f"compiling a {type(self).__name__} gains nothing; leave compile out")

    def forward(self, digits: Int[Tensor, "batch steps"], blanks: int = 0) -> Float[Tensor, "batch ... 10"]:
        """Returns logits (batch, 10) for the last digit, or (batch, blanks, 10) for the digits at the blanks."""
        return self._forward(digits, blanks)[0]

    def one_hot(self, digits: Int[Tensor, "batch steps"], blanks: int = 0) -> Float[Tensor, "read batch symbols"]:
        """Returns the network's input: the digits, then the blanks."""
        symbols = F.pad(digits, (0, blanks), value=BLANK).T
        return one_hot(self, symbols)

    def logits_and_target(self, batch: Any) -> tuple[Float[Tensor, "targets 10"], Int[Tensor, " targets"]]:
        digits, target = input_and_target(batch)
        most = 0 if self.network.input_size == DIGITS else digits.shape[1]
        if (blanks := _blanks(target)) > most:
            raise ValueError(
                f"the targets have the shape {tuple(target.shape)}; write ({len(target)},) for the last digit, or at "
                "most as many columns as digits are read for the second half"
            )
        return self(digits, blanks).flatten(0, -2), target.flatten()

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Logs the accuracy for each length and worst case, and with `target: second_half` for each position.

        Args:
            batch: a `datamodules.PalindromeChunk`, where the network continues from its state after the chunk before;
                or whole sequences and their targets.
        """
        digits, target, *chunk = batch if hasattr(batch, "ends") else input_and_target(batch)
        length, starts, ends, case = chunk or (digits.shape[1] + (_blanks(target) or 1), True, True, "")
        if case == ADVERSARY:  # it picks what is read after these digits
            logits = greedy_adversary(lambda read, state: self._forward(read, 0, state), digits, length - 1)
        else:
            logits, self._state = self._forward(digits, _blanks(target), None if starts else self._state)
        if not ends:
            return
        correct = all_gather((logits.argmax(dim=-1) == target).float())  # (batch, *positions)
        accuracy = {f"test/accuracy/{batch.name if chunk else f'T={length}'}": correct.mean()}
        if correct.dim() == 2:
            first = digits.shape[1] + 1
            accuracy |= {f"test/accuracy/position={first + n}": at for n, at in enumerate(correct.mean(dim=0))}
        # The datamodule has one loader for all lengths. Others may share a length, so their number is added.
        self.log_dict(accuracy, batch_size=len(correct), sync_dist=True, add_dataloader_idx=not chunk)

    def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> dict[str, list[str]]:
        """Columns `sequence` (the digits read), `answer` (the target) and `prediction`, each as text."""
        digits, target = input_and_target(batch)
        predictions = self(digits, _blanks(target)).argmax(dim=-1)
        columns = {"sequence": digits, "answer": target, "prediction": predictions}
        return {name: _as_text(rows) for name, rows in columns.items()}

    def _forward(
        self, digits: Int[Tensor, "batch steps"], blanks: int, state: Any = None
    ) -> tuple[Float[Tensor, "batch ... 10"], Any]:
        """Returns the logits, and the network's state, from which a next call can continue."""
        output, state = self.network(self.one_hot(digits, blanks), state)  # (steps, batch, hidden)
        if blanks:
            return self.readout(output[-blanks:].transpose(0, 1)), state
        return self.readout(output[-1]), state


class PalindromeLSTM(_Palindrome):
    """An LSTM on a palindrome task.

    Args:
        hidden_size: number of cells.
        init: initialisation of the parameters: torch, forget_one, forget_log or chrono.
        horizon: the final length T, which forget_log and chrono need; the CLI takes it from `data.length`.
        kernel: how the recurrence is computed; see `networks.lstm.LSTM`.
        target: what to predict, the `last` digit or the `second_half`; the CLI takes it from `data.target`.
        optimizer: class or partial that takes the parameters.
        lr_scheduler: class or partial that takes the optimizer; steps with every batch. Without a length
            (`total_iters`, `total_steps` or `T_max`) it lasts for the trainer's `max_steps`.

    Raises:
        ValueError: when the target isn't known or `networks.lstm.LSTM` refuses an argument.
    """

    def __init__(
        self,
        hidden_size: int = 64,
        init: LSTMInit = "torch",
        horizon: int | None = None,
        kernel: str = "auto",
        target: Target = "last",
        optimizer: OptimizerCallable = torch.optim.Adam,
        lr_scheduler: LRSchedulerCallable | None = None,
    ) -> None:
        network = LSTM(_symbols(target), hidden_size, kernel=kernel, init=init, horizon=horizon)
        super().__init__(network, optimizer, lr_scheduler)


class PalindromeRNN(_Palindrome):
    """A plain recurrent network on a palindrome task.

    Args:
        hidden_size: number of units.
        nonlinearity: tanh or relu.
        init: initialisation of the parameters: torch, orthogonal, identity (with relu), or latch (with tanh).
        kernel: how the recurrence is computed; see `networks.rnn.RNN`.
        target: what to predict, the `last` digit or the `second_half`; the CLI takes it from `data.target`.
        optimizer: class or partial that takes the parameters.
        lr_scheduler: class or partial that takes the optimizer; as for `PalindromeLSTM`.
        gain: of latch, above 1; see `networks.initialisers.latch`.
        input_scale: of latch, above 0.

    Raises:
        ValueError: when the target isn't known or `networks.rnn.RNN` refuses an argument.
    """

    def __init__(
        self,
        hidden_size: int = 64,
        nonlinearity: str = "tanh",
        init: RNNInit = "torch",
        kernel: str = "auto",
        target: Target = "last",
        optimizer: OptimizerCallable = torch.optim.Adam,
        lr_scheduler: LRSchedulerCallable | None = None,
        gain: float = 3.0,
        input_scale: float = 1.0,
    ) -> None:
        network = RNN(
            _symbols(target),
            hidden_size,
            kernel=kernel,
            nonlinearity=nonlinearity,
            init=init,
            gain=gain,
            input_scale=input_scale,
        )
        super().__init__(network, optimizer, lr_scheduler)


def _symbols(target: Target) -> int:
    check_choice("target", target, SYMBOLS)
    return SYMBOLS[target]


def _blanks(target: Int[Tensor, "batch ..."]) -> int:
    """Returns one blank per target; none for the last digit alone, which is predicted after the last digit read."""
    return target.shape[1] if target.dim() == 2 else 0


def _as_text(rows: Int[Tensor, "batch ..."]) -> list[str]:
    return ["".join(map(str, row)) for row in rows.reshape(len(rows), -1).tolist()]
