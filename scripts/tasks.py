"""Trained networks and their sequence tasks: what can be typed, what a network reads, and the right answers."""

import inspect
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor, nn

from common.files import read_tensors
from common.palindrome import DIGITS
from common.targets import UNASKED
from datamodules import PalindromeDataModule, SequenceDataModule
from datamodules.palindromes import ChunkedPalindromes, PalindromeBatch
from datamodules.palindromes.worst_cases import PAIRS
from datamodules.tasks import TaskDataModule
from lightning_modules import PalindromeLSTM, PalindromeRNN, SequenceModel
from lightning_modules.sequence import symbols_and_targets
from twofold.errors import UsageError, advised

Model = PalindromeLSTM | PalindromeRNN | SequenceModel
Task = PalindromeDataModule | SequenceDataModule
"""A sequence of palindromes is a whole palindrome; networks read a part of it."""
Symbols = Int[Tensor, " steps"]

MODULES: dict[str, type[Model]] = {cls.__name__: cls for cls in (PalindromeLSTM, PalindromeRNN, SequenceModel)}
DEFAULT_LENGTH = 20
"""Steps of a random sequence, where no datamodule says for which length the network was made."""
MAX_TYPED = 1000
"""The most symbols of a sequence that is typed."""
INSTEAD = "write one of a palindrome network or a SequenceModel, such as runs/palindrome_lstm/RUN/checkpoints/best.ckpt"


class Question(NamedTuple):
    """A sequence, and what is asked about it.

    Attributes:
        title: its task and length.
        text: the sequence as it can be typed.
        symbols: what a network reads.
        targets: the right answer at each step, or `UNASKED`.
        names: of the symbols.
        palindrome: whether it is a palindrome, so that the first symbol is the last answer.
    """

    title: str
    text: str
    symbols: Symbols
    targets: Symbols
    names: list[str]
    palindrome: bool

    @property
    def asked(self) -> Int[Tensor, " asked"]:
        """The steps with a right answer; the last step if there is none."""
        steps = (self.targets != UNASKED).nonzero()[:, 0]
        return steps if len(steps) else torch.tensor([len(self.targets) - 1])

    def name(self, symbol: int) -> str:
        """The name of a symbol; its number, if only the network has it."""
        return self.names[symbol] if symbol < len(self.names) else str(symbol)


def title_of(task: Task) -> str:
    """Returns the name of a task, and the arguments that only this task has."""
    if isinstance(task, PalindromeDataModule):
        return "second half" if task.target == "second_half" else "last digit"
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", type(task).__name__.removesuffix("DataModule")).lower()
    common = inspect.signature(SequenceDataModule).parameters
    return ", ".join([name, *(f"{key} {value}" for key, value in task.hparams.items() if key not in common)])


def draw(task: Task, length: int, case: str, seed: int) -> Symbols:
    """Returns a random sequence, as in training or, if it is named, of one of the task's worst cases.

    Raises:
        UsageError: when the length is below the least one.
    """
    if length < task.least_length:
        raise UsageError(f"{length} steps are too few for {title_of(task)}; write {task.least_length} or more")
    if isinstance(task, SequenceDataModule):
        return torch.from_numpy(task.draw(np.random.default_rng(seed), 1, length, case)[0])
    rows = PAIRS if case else 1  # a worst case has all pairs of digits
    chunks = list(ChunkedPalindromes(length, rows, rows, seed, case=case))
    digits = torch.cat([*(chunk.digits for chunk in chunks), chunks[0].target[:, None]], dim=1)
    return digits[seed % rows]


def parse(task: Task, text: str) -> Symbols:
    """Returns the sequence that was typed: names with spaces between them, which names of one character don't need.

    A palindrome may be its first half.

    Raises:
        UsageError: when a name isn't known, or there are none or too many.
    """
    palindrome, known, names = isinstance(task, PalindromeDataModule), task.symbol_names, text.split()
    if palindrome:
        known = known[:DIGITS]
    if all(len(name) == 1 for name in known):
        names = list("".join(names))
    if palindrome and (len(names) < 2 or names != names[::-1]):
        names += names[::-1]
    if unknown := [name for name in names if name not in known]:
        raise UsageError(f"symbol '{unknown[0][:20]}' isn't one of {' '.join(known)}")
    if not 1 <= len(names) <= MAX_TYPED:
        raise UsageError(f"a sequence of {len(names):,} symbols; write 1 to {MAX_TYPED:,} of {' '.join(known)}")
    return torch.tensor([known.index(name) for name in names])


def ask(task: Task, symbols: Symbols) -> Question:
    """Returns what is asked about a sequence."""
    names, steps, sequence = task.symbol_names, len(symbols), symbols[None]
    if isinstance(task, SequenceDataModule):
        targets = torch.from_numpy(task.targets(sequence.numpy())[0])
        text = " ".join(names[symbol] for symbol in symbols)
        return Question(f"{steps:,} steps of {title_of(task)}", text, symbols, targets, names, palindrome=False)
    batch = PalindromeBatch(sequence[:, :-1], symbols[-1:])
    if task.target == "second_half":
        batch = PalindromeBatch(sequence[:, : (steps + 1) // 2], sequence[:, (steps + 1) // 2 :])
    read, targets = symbols_and_targets(batch)
    text = "".join(map(str, symbols.tolist()))
    return Question(f"Palindrome of {steps:,} digits", text, read[:, 0], targets[:, 0], names, palindrome=True)


def load(path: Path) -> tuple[Model, Task]:
    """Returns the network in a checkpoint, on the CPU and in eval mode, and its task.

    Raises:
        UsageError: when the file isn't a checkpoint of one of `MODULES`, or its network or task isn't known here.
    """
    try:
        match read_tensors(path):
            case {"module": str(name), **checkpoint} if name in MODULES:
                model: Model = MODULES[name].load_from_checkpoint(path).eval()
                known = _subclasses(TaskDataModule)
                tasks = [known[key].load_from_checkpoint(path) for key in checkpoint if key in known]
            case _:
                raise UsageError(f"{path} is not a checkpoint of one of {', '.join(MODULES)}; {INSTEAD}")
    except ValueError as error:
        raise advised(error, INSTEAD) from error
    if not tasks and isinstance(model, SequenceModel):
        raise UsageError(f"{path} is of a task that isn't known here; name the module of its class, as --import mine")
    return model, tasks[0] if tasks else PalindromeDataModule(DEFAULT_LENGTH, target=model.hparams["target"])


def common_task(names: Iterable[str | Path], opened: Iterable[tuple[Model, Task]]) -> Task:
    """Returns the task of several networks.

    Raises:
        UsageError: when they have several.
    """
    (_, task), *_ = opened
    for name, (_, other) in zip(names, opened, strict=True):
        if title_of(other) != title_of(task):
            raise UsageError(f"{name} is of the task {title_of(other)}, not {title_of(task)}; choose one task")
    return task


def describe(network: nn.Module) -> str:
    """Returns what kind of network it is."""
    kinds = [str(getattr(network, name)) for name in ("init", "positions") if hasattr(network, name)]
    return ", ".join([type(network).__name__, *kinds, f"{network.hidden_size} units"])


def _subclasses(cls: Any) -> dict[str, Any]:
    """A class and all its subclasses, by name."""
    return {name: each for sub in cls.__subclasses__() for name, each in _subclasses(sub).items()} | {
        cls.__qualname__: cls
    }
