"""The trained networks under a folder of runs, each known by its path from there. Nothing outside is ever opened."""

import os
import threading
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple

from callbacks.drawing import trained_on
from callbacks.generative_metrics import BEST_GENERATOR_FILE
from callbacks.interpolation_strip import GENERATOR_FILE
from lightning_modules import PalindromeLSTM, PalindromeRNN
from networks.files import read_facts
from runtime.errors import UsageError
from scripts.explorer.fields import text
from scripts.generator_files import LONGEST_SOURCE, GeneratorFile, open_generator
from scripts.show_gates import load

Kind = Literal["lstm", "rnn", "writer"]
"""An LSTM or RNN that names the last digit, or either where it writes the second half."""

GENERATOR_FILES = (GENERATOR_FILE, BEST_GENERATOR_FILE)
CHECKPOINTS = ("best.ckpt", "last.ckpt")
"""Of a run's, the first that is there."""
LONGEST_NAME = 1000
KEPT_OPEN = 32

State = tuple[tuple[int, int], ...]
"""Of some files: when each was written last, and its size. A network is opened again when its files have changed."""


class Book(NamedTuple):
    """What there is to choose: its path from the shelf's folder, and what it is in words."""

    name: str
    title: str


class Shelf:
    """All generators and palindrome networks under a folder, wherever in it.

    Args:
        root: the folder of runs; it may be empty or not there yet.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def generators(self) -> list[Book]:
        """Those there are, the newest first; one whose facts can't be read is titled by its path alone."""
        found = self._newest_first(path for name in GENERATOR_FILES for path in self.root.rglob(name))
        return [Book(name, self._generator_title(name, path)) for name, path in found]

    def memories(self, kind: Kind) -> list[Book]:
        """The networks of a kind, the newest first, each run's by its best checkpoint, or else its last."""
        folders = self.root.rglob("checkpoints")
        newest = self._newest_first(path for folder in folders if (path := _checkpoint(folder)))
        books = []
        for name, path in newest:
            known = _memory_title(path, _state(path))
            if known and known[0] == kind:
                books.append(Book(name, f"{known[1]} ({Path(name).parents[1]})"))
        return books

    def generator(self, name: object) -> GeneratorFile:
        """The generator of this name, opened once.

        Raises:
            UsageError: when it isn't under the folder, or is no sound generator file.
        """
        path = self._inside(name, GENERATOR_FILES)
        facts = self._really_inside(path.with_suffix(".json"))
        with _opening:
            return _open_generator(path, _state(path, facts))

    def memory(self, name: object) -> PalindromeLSTM | PalindromeRNN:
        """The network in the checkpoint of this name, opened once, in eval mode.

        Raises:
            UsageError: when it isn't under the folder, or is no sound checkpoint of one of the two.
        """
        path = self._inside(name, CHECKPOINTS)
        with _opening:
            return _open_memory(path, _state(path))

    def _generator_title(self, name: str, path: Path) -> str:
        try:
            self._really_inside(path.with_suffix(".json"))
            facts = read_facts(path)
        except (UsageError, ValueError):
            return name
        best = "the best, " if path.name == BEST_GENERATOR_FILE else ""
        match facts:
            case {"step": int(step), "data_source": str(source)} if len(source) <= LONGEST_SOURCE:
                return f"{best}{trained_on(step, source)} ({Path(name).parent})"
        return name

    def _inside(self, name: object, files: tuple[str, ...]) -> Path:
        path = Path(text(name, "network", LONGEST_NAME))
        if path.name not in files or path.is_absolute():
            raise _unknown()
        return self._really_inside(self.root / path)

    def _really_inside(self, path: Path) -> Path:
        """The path that it leads to, by whatever links.

        Raises:
            UsageError: when that isn't a file in the folder.
        """
        try:
            real = path.resolve(strict=True)
            if real.is_relative_to(self.root.resolve()) and real.is_file():
                return real
        except (OSError, ValueError, RuntimeError) as error:  # no such file, a zero byte, a link to itself
            raise _unknown() from error
        raise _unknown()

    def _newest_first(self, paths: Iterator[Path]) -> list[tuple[str, Path]]:
        """Names and real paths of those that lie in the folder."""
        inside = []
        for path in paths:
            try:
                real = self._really_inside(path)
                inside.append((real.stat().st_mtime, path.relative_to(self.root).as_posix(), real))
            except (UsageError, OSError):  # a link to elsewhere, or gone meanwhile
                continue
        return [(name, real) for _, name, real in sorted(inside, reverse=True)]


_opening = threading.Lock()
"""So that a network that many ask for at once is opened once."""


def _unknown() -> UsageError:
    return UsageError("there is no such network here; choose one from the list, and reload the page to see new runs")


def _state(*paths: Path) -> State:
    try:
        found = [os.stat(path) for path in paths]
    except OSError as error:
        raise _unknown() from error
    return tuple((status.st_mtime_ns, status.st_size) for status in found)


@lru_cache(KEPT_OPEN)
def _open_generator(path: Path, state: State) -> GeneratorFile:
    return open_generator(path)


@lru_cache(KEPT_OPEN)
def _open_memory(path: Path, state: State) -> PalindromeLSTM | PalindromeRNN:
    return load(path).cpu().eval()


def _checkpoint(folder: Path) -> Path | None:
    """A game's checkpoints are large, and it has generator files instead."""
    if any((folder.parent / name).exists() for name in GENERATOR_FILES):
        return None
    return next((folder / name for name in CHECKPOINTS if (folder / name).exists()), None)


@lru_cache(4096)
def _memory_title(path: Path, state: State) -> tuple[Kind, str] | None:
    """None of what is no palindrome network's."""
    try:
        model = load(path)
    except UsageError:
        return None
    is_lstm = isinstance(model, PalindromeLSTM)
    network = f"init {model.init}, {model.hidden_size} units"
    if isinstance(model, PalindromeLSTM) and model.horizon:
        network += f", for {model.horizon:,} digits"
    if model.target == "second_half":
        return "writer", network
    return ("lstm" if is_lstm else "rnn"), network
