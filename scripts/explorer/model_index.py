"""The trained networks under a folder of runs.

A network is known by its path from that folder. Only paths that a listing has found are opened.
"""

import threading
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from callbacks.generative_metrics import BEST_GENERATOR_FILE
from callbacks.interpolation_strip import GENERATOR_FILE
from lightning_modules import PalindromeLSTM
from networks.generator_files import read_metadata
from scripts.generator_files import GeneratorFile, open_generator
from scripts.plot_gates import Model, load
from twofold.errors import UsageError

Choices = list[tuple[str, str]]
"""Titles and names, as `gr.Dropdown` takes them."""

ENOUGH_BATCHES = 1000
"""A generator with fewer can't make all digits yet, so it comes last."""


class ModelIndex:
    """All generators and palindrome networks under a folder.

    Args:
        root: the folder of runs; it may be empty or missing.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._paths: dict[str, Path] = {}
        self._lock = threading.Lock()

    def generators(self) -> Choices:
        """The generator files, the newest first."""
        steps = {path: _step(path) for path in self._newest_first(GENERATOR_FILE, BEST_GENERATOR_FILE)}
        ordered = sorted(steps, key=lambda path: steps[path] < ENOUGH_BATCHES)
        best = {GENERATOR_FILE: "", BEST_GENERATOR_FILE: ", best"}
        return [self._choice(path, path.parent, f"{best[path.name]}, {steps[path]:,} batches") for path in ordered]

    def palindrome_networks(self) -> Choices:
        """The best checkpoint of each palindrome run, or else its last, the newest first."""
        paths = self._newest_first("checkpoints/best.ckpt", "checkpoints/last.ckpt")
        one_per_run = {path.parent: path for path in sorted(paths, key=lambda path: path.name == "best.ckpt")}
        described = {path: _describe(path, path.stat().st_mtime_ns) for path in paths if path in one_per_run.values()}
        return [self._choice(path, path.parents[1], f", {text}") for path, text in described.items() if text]

    def generator(self, name: str | None) -> GeneratorFile:
        """Opens a generator file once, and again when it has changed.

        Raises:
            UsageError: when no listing has this name, or the file is damaged.
        """
        if name is None:
            raise UsageError(f"there is no generator under {self.root}; train one with twofold fit -c configs/gan.yaml")
        trained: GeneratorFile = self._open(open_generator, name)
        return trained

    def palindrome_network(self, name: str) -> Model:
        """Opens a checkpoint once, and again when it has changed.

        Raises:
            UsageError: when no listing has this name, or the file is damaged.
        """
        model: Model = self._open(load, name)
        return model

    def _newest_first(self, *patterns: str) -> list[Path]:
        found = [path for pattern in patterns for path in self.root.rglob(pattern)]
        return sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)

    def _choice(self, path: Path, run: Path, title: str) -> tuple[str, str]:
        name = path.relative_to(self.root).as_posix()
        self._paths[name] = path
        return f"{run.relative_to(self.root).as_posix()}{title}", name

    def _open(self, opener: Callable[[Path], Any], name: str) -> Any:
        if name not in self._paths:
            raise UsageError("there is no such network; choose one from the list, or reload the page to see new runs")
        path = self._paths[name]
        with self._lock:  # several requests for one network open it once
            return _opened(opener, path, path.stat().st_mtime_ns)


@lru_cache(32)
def _opened(opener: Callable[[Path], Any], path: Path, modified: int) -> Any:
    return opener(path)


def _step(path: Path) -> int:
    try:
        return int(read_metadata(path)["step"])
    except (ValueError, KeyError, TypeError):
        return 0


@lru_cache(4096)
def _describe(path: Path, modified: int) -> str:
    """What the network in a checkpoint is; an empty text when it isn't a palindrome network."""
    try:
        model = load(path)
    except UsageError:
        return ""
    kind, horizon = ("LSTM", model.horizon) if isinstance(model, PalindromeLSTM) else ("RNN", None)
    task = "second half" if model.target == "second_half" else "last digit"
    return f"{kind}, {task}, {model.init}" + (f", {horizon:,} digits" if horizon else "")
