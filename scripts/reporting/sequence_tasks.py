"""Networks on sequence tasks: training one in a plain Trainer, its accuracy at other lengths, and two pictures."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from jaxtyping import Int
from lightning.pytorch import Callback, Trainer, seed_everything
from torch import Tensor, nn

from callbacks import LengthCurriculum, StopWhenSolved
from common.eval_mode import evaluating
from datamodules import (
    FlipFlopDataModule,
    InductionDataModule,
    PalindromeDataModule,
    ParityDataModule,
    RecallDataModule,
)
from lightning_modules import SequenceModel
from lightning_modules.classifier import UNASKED
from lightning_modules.sequence import symbols_and_targets
from networks.gru import GRU
from networks.lru import LRU
from networks.lstm import LSTM
from networks.min_gru import MinGRU
from networks.rnn import RNN
from networks.s6 import S6
from networks.transformer import Transformer

HIDDEN_SIZE = BATCH_SIZE = 64

NETWORKS: dict[str, Callable[[int, int], nn.Module]] = {
    "RNN default": lambda symbols, T: RNN(symbols, HIDDEN_SIZE),
    "RNN latch": lambda symbols, T: RNN(symbols, HIDDEN_SIZE, init="latch"),
    "LSTM default": lambda symbols, T: LSTM(symbols, HIDDEN_SIZE),
    "LSTM forget bias log T": lambda symbols, T: LSTM(symbols, HIDDEN_SIZE, init="forget_log", horizon=T),
    "GRU update bias log T": lambda symbols, T: GRU(symbols, HIDDEN_SIZE, init="update_log", horizon=T),
    "minGRU": lambda symbols, T: MinGRU(symbols, HIDDEN_SIZE),
    "LRU": lambda symbols, T: LRU(symbols, HIDDEN_SIZE),
    "S6": lambda symbols, T: S6(symbols, HIDDEN_SIZE, expand=1),
    "transformer RoPE": lambda symbols, T: Transformer(symbols, HIDDEN_SIZE, positions="rope"),
    "transformer ALiBi": lambda symbols, T: Transformer(symbols, HIDDEN_SIZE, positions="alibi"),
}
"""From the number of symbols and the training length T."""


class Task(NamedTuple):
    """A task at its training length.

    Attributes:
        data: from the length and other arguments, such as `batch_size`.
        symbols: how many there are.
        length: steps to train at, or digits of a palindrome.
        start: where a growing length starts.
        chance: the accuracy of the best constant answer.
    """

    data: Callable[..., Any]
    symbols: int
    length: int
    start: int
    chance: float


TASKS = {
    "last": Task(PalindromeDataModule, 10, 20, 5, 0.1),
    "second_half": Task(partial(PalindromeDataModule, target="second_half"), 11, 20, 4, 0.1),
    "induction": Task(InductionDataModule, 17, 32, 4, 1 / 16),
    "flip_flop": Task(FlipFlopDataModule, 5, 32, 4, 0.5),
    "recall": Task(RecallDataModule, 32, 32, 16, 1 / 16),
    "parity": Task(ParityDataModule, 2, 32, 4, 0.5),
}


class Training(NamedTuple):
    """One network to train on one task, at its full length, a random or a growing one."""

    task: str
    network: str
    training: str
    learning_rate: float
    seed: int


def train(training: Training, max_batches: int) -> tuple[SequenceModel, dict[str, Any]]:
    """Trains a network until ten batches in a row are without an error at the full length.

    Returns:
        The module, and how it went: `batches`, `seconds` of this process's CPU, `solved`, and the number of weights.
    """
    task = TASKS[training.task]
    seed_everything(training.seed, verbose=False)
    network = NETWORKS[training.network](task.symbols, task.length)
    module = SequenceModel(network, partial(torch.optim.Adam, lr=training.learning_rate, fused=True))
    growth = [LengthCurriculum(start=task.start)] if training.training == "growing" else []
    shortest = {"shortest": task.start} if training.training == "random" else {}
    until_solved = StopWhenSolved()
    trainer = plain_trainer([*growth, until_solved], max_batches)
    start = time.process_time()
    trainer.fit(module, datamodule=task.data(task.length, batch_size=BATCH_SIZE, **shortest))
    seconds = round(time.process_time() - start, 1)
    went = {"batches": trainer.global_step, "seconds": seconds, "solved": until_solved.solved}
    return module, went | {"weights": sum(weight.numel() for weight in module.parameters())}


def accuracy(module: SequenceModel, task: str, length: int, rows: int) -> float:
    """The share of right answers at a length, on sequences that are the same for every network."""
    symbols, targets = sequences(task, length, rows)
    with evaluating(module):
        predictions = torch.cat([logits.argmax(dim=2) for logits in module.read(symbols)])
    return int((predictions == targets).sum()) / int((targets != UNASKED).sum())


def sequences(task: str, length: int, rows: int) -> tuple[Int[Tensor, "steps rows"], Int[Tensor, "steps rows"]]:
    """Symbols and targets of a test batch, as a function of the arguments."""
    data = TASKS[task].data(length, batch_size=rows, test_size=rows)
    data.load_state_dict({"seed": 0})
    loaders = data.test_dataloader()
    batches = list(loaders[0] if isinstance(loaders, list) else loaders)
    if len(batches) > 1:  # a long palindrome comes in parts
        batches = [batches[-1]._replace(digits=torch.cat([batch.digits for batch in batches], dim=1))]
    return symbols_and_targets(batches[0])


def plain_trainer(callbacks: Sequence[Callback], max_steps: int = -1) -> Trainer:
    """On the CPU, with gradients clipped at norm 1, without validation, logger, checkpoints and progress bar."""
    return Trainer(
        accelerator="cpu",
        max_steps=max_steps,
        max_epochs=-1,
        gradient_clip_val=1.0,
        limit_val_batches=0,
        callbacks=list(callbacks),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def draw_solved(rows: Any) -> Any:
    """Who solves what."""


def draw_lengths(rows: Any) -> Any:
    """Accuracy against length."""
