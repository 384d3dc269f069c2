"""The trained networks under a folder of runs, each known by its path from there. Nothing outside is ever opened."""

import os
import re
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path, PurePath
from typing import Literal, NamedTuple

from callbacks.generative_metrics import BEST_GENERATOR_FILE
from callbacks.interpolation_strip import GENERATOR_FILE
from lightning_modules import PalindromeLSTM, PalindromeRNN
from networks.generator_files import read_metadata
from scripts.explorer.inputs import text
from scripts.generator_files import GeneratorFile, open_generator
from scripts.plot_gates import load
from twofold.errors import UsageError

Kind = Literal["lstm", "rnn", "writer"]
"""An LSTM or RNN that names the last digit, or either where it writes the second half."""

GENERATOR_FILES = (GENERATOR_FILE, BEST_GENERATOR_FILE)
CHECKPOINTS = ("best.ckpt", "last.ckpt")
"""Of a run's, the first that is there."""
LONGEST_NAME = 1000
KEPT_OPEN = 32
ENOUGH = 1000
"""Batches."""
RUN_ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{4}")

State = tuple[tuple[int, int], ...]
"""Of some files: when each was written last, and its size. A network is opened again when its files have changed."""


class Book(NamedTuple):
    """What there is to choose: its path from the shelf's folder, and what it is called where there is little room."""

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
        """Those there are, the newest first, and behind them those of few batches, which can't make all digits yet."""
        found = self._newest_first(path for name in GENERATOR_FILES for path in self.root.rglob(name))
        steps = {PurePath(name): self._step(path) for name, path in found}
        called = self._called(path.parent for path in steps)
        books = []
        for path, step in sorted(steps.items(), key=lambda item: item[1] is None or item[1] < ENOUGH):
            best = "the best" if path.name == BEST_GENERATOR_FILE else ""
            batches = "" if step is None else f"{step:,} batches"
            books.append(Book(path.as_posix(), ", ".join(filter(None, (called[path.parent], best, batches)))))
        return books

    def memories(self, kind: Kind) -> list[Book]:
        """The networks of a kind, the newest first, each run's by its best checkpoint, or else its last."""
        folders = self.root.rglob("checkpoints")
        newest = self._newest_first(path for folder in folders if (path := _checkpoint(folder)))
        known = {PurePath(name): facts for name, path in newest if (facts := _kind_and_traits(path, _state(path)))}
        traits = {path: its_traits for path, (its_kind, its_traits) in known.items() if its_kind == kind}
        called = self._called(path.parents[1] for path in traits)
        return [Book(path.as_posix(), f"{called[path.parents[1]]}, {its}") for path, its in traits.items()]

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

    def _step(self, path: Path) -> int | None:
        """After how many batches a generator was saved; None where its facts can't be read."""
        try:
            self._really_inside(path.with_suffix(".json"))
            step = read_metadata(path).get("step")
        except (UsageError, ValueError):
            return None
        return step if isinstance(step, int) else None

    def _called(self, runs: Iterable[PurePath]) -> dict[PurePath, str]:
        """The shortest name by which each run is told apart from the others."""
        root = self.root.resolve()
        names = {run: _names(root / run) for run in runs}
        count = Counter(name for some in names.values() for name in some)
        return {run: next(name for name in some if count[name] == 1) for run, some in names.items()}

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


def _names(path: Path) -> list[str]:
    """From the shortest to the whole path: of a run its experiment and how its id ends, of others their last part."""
    short = [f"{path.parent.name.removeprefix('palindrome_')} {path.name[-4:]}"] if RUN_ID.fullmatch(path.name) else []
    return short + [PurePath(*path.parts[at:]).as_posix() for at in reversed(range(len(path.parts)))]


@lru_cache(4096)
def _kind_and_traits(path: Path, state: State) -> tuple[Kind, str] | None:
    """None of what is no palindrome network's."""
    try:
        model = load(path)
    except UsageError:
        return None
    kind: Kind = "lstm" if isinstance(model, PalindromeLSTM) else "rnn"
    length = f", {model.horizon:,} digits" if isinstance(model, PalindromeLSTM) and model.horizon else ""
    return ("writer" if model.target == "second_half" else kind), f"{model.init}{length}"
