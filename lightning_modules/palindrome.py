"""Memory: read the first T−1 digits of a palindrome, name the last one, which is the first one read."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn

from lightning_modules.classification import DIGITS, Classification
from networks.lstm import LSTM
from networks.rnn import RNN


class _Palindrome(Classification):
    """One-hot digits → recurrent network → its last output → linear layer → logits."""

    network: LSTM | RNN
    readout: nn.Linear

    def forward(self, digits: Int[Tensor, "batch steps"]) -> Float[Tensor, "batch 10"]:
        output, _ = self.network(self.one_hot(digits))  # (steps, batch, hidden)
        return self.readout(output[-1])  # (batch, 10)

    def one_hot(self, digits: Int[Tensor, "batch steps"]) -> Float[Tensor, "steps batch 10"]:
        """What the network reads."""
        return F.one_hot(digits.T, DIGITS).to(self.readout.weight.dtype)

    def predict_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> dict[str, list[str] | list[int]]:
        """Columns `sequence` (the digits read), `answer` (the last digit) and `prediction`."""
        digits, target = batch
        sequences = ["".join(map(str, row)) for row in digits.tolist()]
        return {"sequence": sequences, "answer": target.tolist(), "prediction": self(digits).argmax(dim=1).tolist()}


class PalindromeLSTM(_Palindrome):
    """An LSTM that names the last digit of a palindrome.

    Args:
        hidden_size: number of cells.
        init: how the parameters start: torch, forget_one, forget_log or chrono.
        horizon: the final length T, which forget_log and chrono are made for; the CLI takes it from `data.length`.
        kernel: what computes the recurrence: gates (the equations), fused (torch's native one) or auto (fused).
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
        optimizer: OptimizerCallable = torch.optim.Adam,
        lr_scheduler: LRSchedulerCallable | None = None,
    ) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.init = init
        self.horizon = horizon
        self.kernel = kernel
        self.optimizer = optimizer
        self.lr_scheduler = lr_scheduler
        self.network = LSTM(DIGITS, hidden_size, kernel=kernel, init=init, horizon=horizon)
        self.readout = nn.Linear(hidden_size, DIGITS)
        self.keep_arguments()


class PalindromeRNN(_Palindrome):
    """A plain recurrent network at the same task.

    Args:
        hidden_size: number of units.
        nonlinearity: tanh or relu.
        init: how the parameters start: torch, orthogonal, or identity (with relu).
        kernel: what computes the recurrence, as for `networks.rnn.RNN`.
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
        optimizer: OptimizerCallable = torch.optim.Adam,
        lr_scheduler: LRSchedulerCallable | None = None,
    ) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.nonlinearity = nonlinearity
        self.init = init
        self.kernel = kernel
        self.optimizer = optimizer
        self.lr_scheduler = lr_scheduler
        self.network = RNN(DIGITS, hidden_size, kernel=kernel, nonlinearity=nonlinearity, init=init)
        self.readout = nn.Linear(hidden_size, DIGITS)
        self.keep_arguments()
