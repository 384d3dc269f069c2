"""Memory: read a palindrome up to some point, and answer with digits that were read long ago.

For the last digit all others are read, and it is the first one read. For the second half the first ⌈T/2⌉ digits are
read, then blanks, an eleventh symbol that says nothing; at each blank the network writes the next digit from memory.
"""

from typing import Any, NoReturn

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn

from common.palindrome import DIGITS, Target
from lightning_modules.classification import Classification
from networks.lstm import LSTM
from networks.rnn import RNN

SYMBOLS: dict[Target, int] = {"last": DIGITS, "second_half": DIGITS + 1}
"""How many symbols the network reads, by what it is to answer."""

BLANK = DIGITS


class _Palindrome(Classification):
    """One-hot symbols → recurrent network → linear layer at each step that is to answer → logits."""

    network: LSTM | RNN
    readout: nn.Linear
    _state: Any = None
    """Of the network, where the last chunk of a test ended."""

    def compile(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raises ValueError: a compiler would unroll the recurrence, and the kernels leave it nothing to better."""
        raise ValueError(f"compiling a {type(self).__name__} gains nothing; leave compile out")

    def forward(self, digits: Int[Tensor, "batch steps"], blanks: int = 0) -> Float[Tensor, "batch ... 10"]:
        """Logits (batch, 10) for the last digit, or (batch, blanks, 10) for the digits to write at the blanks."""
        return self._read(digits, blanks)[0]

    def one_hot(self, digits: Int[Tensor, "batch steps"], blanks: int = 0) -> Float[Tensor, "read batch symbols"]:
        """What the network reads: the digits, then the blanks."""
        symbols = F.pad(digits, (0, blanks), value=BLANK).T
        return F.one_hot(symbols, self.network.input_size).to(self.readout.weight.dtype)

    def answers(self, batch: tuple[Tensor, Tensor]) -> tuple[Float[Tensor, "answers 10"], Int[Tensor, " answers"]]:
        digits, target = batch
        return self(digits, _blanks(target)).flatten(0, -2), target.flatten()

    def test_step(self, chunk: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Logs accuracy for each length, and of a second half for each position.

        Args:
            chunk: a `datamodules.PalindromeChunk`; reading goes on where the chunk before it ended.
        """
        logits, self._state = self._read(chunk.digits, _blanks(chunk.target), None if chunk.starts else self._state)
        if not chunk.ends:
            return
        right = (logits.argmax(dim=-1) == chunk.target).float()  # (batch, *positions)
        right = self.ranks.together(right)
        accuracy = {f"test/accuracy/T={chunk.length}": right.mean()}
        if right.dim() == 2:
            first = chunk.digits.shape[1] + 1
            accuracy |= {f"test/accuracy/position={first + n}": at for n, at in enumerate(right.mean(dim=0))}
        self.log_dict(accuracy, batch_size=len(right), sync_dist=True, add_dataloader_idx=False)

    def predict_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> dict[str, list[str]]:
        """Columns `sequence` (the digits read), `answer` (the right one) and `prediction`."""
        digits, target = batch
        predictions = self(digits, _blanks(target)).argmax(dim=-1)
        columns = {"sequence": digits, "answer": target, "prediction": predictions}
        return {name: _written(rows) for name, rows in columns.items()}

    def _read(
        self, digits: Int[Tensor, "batch steps"], blanks: int, state: Any = None
    ) -> tuple[Float[Tensor, "batch ... 10"], Any]:
        """Logits as `forward`, and the network's state, from which a next call can go on."""
        output, state = self.network(self.one_hot(digits, blanks), state)  # (steps, batch, hidden)
        if blanks:
            return self.readout(output[-blanks:].transpose(0, 1)), state
        return self.readout(output[-1]), state


def _symbols(target: Target) -> int:
    if target not in SYMBOLS:
        raise ValueError(f"target is '{target}'; write {' or '.join(SYMBOLS)}")
    return SYMBOLS[target]


def _blanks(target: Int[Tensor, "batch ..."]) -> int:
    """As many as there are digits to write; none for the last digit alone, which is named when all others are read."""
    return target.shape[1] if target.dim() == 2 else 0


def _written(rows: Int[Tensor, "batch ..."]) -> list[str]:
    """Each row's digits as text."""
    return ["".join(map(str, row)) for row in rows.reshape(len(rows), -1).tolist()]


class PalindromeLSTM(_Palindrome):
    """An LSTM that names the last digit of a palindrome.

    Args:
        hidden_size: number of cells.
        init: how the parameters start: torch, forget_one, forget_log or chrono.
        horizon: the final length T, which forget_log and chrono are made for; the CLI takes it from `data.length`.
        kernel: what computes the recurrence: gates (the equations), fused (torch's native one) or auto (fused).
        target: what is to be answered, the `last` digit or the `second_half`; the CLI takes it from `data.target`.
        optimizer: class or partial that takes the parameters.
        lr_scheduler: class or partial that takes the optimizer; steps with every batch.

    Raises:
        ValueError: when `networks.lstm.LSTM` refuses an argument.
    """

    def __init__(
        self,
        hidden_size: int = 64,
        init: str = "torch",
        horizon: int | None = None,
        kernel: str = "auto",
        target: Target = "last",
        optimizer: OptimizerCallable = torch.optim.Adam,
        lr_scheduler: LRSchedulerCallable | None = None,
    ) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.init = init
        self.horizon = horizon
        self.kernel = kernel
        self.target = target
        self.optimizer = optimizer
        self.lr_scheduler = lr_scheduler
        self.network = LSTM(_symbols(target), hidden_size, kernel=kernel, init=init, horizon=horizon)
        self.readout = nn.Linear(hidden_size, DIGITS)
        self.save_arguments()


class PalindromeRNN(_Palindrome):
    """A plain recurrent network at the same task.

    Args:
        hidden_size: number of units.
        nonlinearity: tanh or relu.
        init: how the parameters start: torch, orthogonal, or identity (with relu).
        kernel: what computes the recurrence, as for `networks.rnn.RNN`.
        target: what is to be answered, the `last` digit or the `second_half`; the CLI takes it from `data.target`.
        optimizer: class or partial that takes the parameters.
        lr_scheduler: class or partial that takes the optimizer; steps with every batch.

    Raises:
        ValueError: when `networks.rnn.RNN` refuses an argument.
    """

    def __init__(
        self,
        hidden_size: int = 64,
        nonlinearity: str = "tanh",
        init: str = "torch",
        kernel: str = "auto",
        target: Target = "last",
        optimizer: OptimizerCallable = torch.optim.Adam,
        lr_scheduler: LRSchedulerCallable | None = None,
    ) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.nonlinearity = nonlinearity
        self.init = init
        self.kernel = kernel
        self.target = target
        self.optimizer = optimizer
        self.lr_scheduler = lr_scheduler
        self.network = RNN(_symbols(target), hidden_size, kernel=kernel, nonlinearity=nonlinearity, init=init)
        self.readout = nn.Linear(hidden_size, DIGITS)
        self.save_arguments()
