"""The trained networks under a folder of runs.

A network is known by its path from that folder. Only paths that a listing has found are opened.
"""

import sys
import threading
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from callbacks.generative_metrics import BEST_GENERATOR_FILE
from callbacks.interpolation_strip import GENERATOR_FILE
from common.files import read_tensors
from networks.generator_files import read_metadata
from scripts.generator_files import GeneratorFile, open_generator
from scripts.tasks import MODULES, Model, Task, describe, load, title_of
from twofold.errors import UsageError, one_line

Choices = list[tuple[str, str]]
"""Titles and names, as `gr.Dropdown` takes them."""

ENOUGH_BATCHES = 1000
"""A generator with fewer can't make all digits yet, so it comes last."""


class ModelIndex:
    """All generators and networks with memory under a folder.

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

    def networks(self) -> dict[str, Choices]:
        """By the title of their task, the best checkpoint of each run, or else its last, the newest first."""
        paths = self._newest_first("checkpoints/best.ckpt", "checkpoints/last.ckpt")
        one_per_run = {path.parent: path for path in sorted(paths, key=lambda path: path.name == "best.ckpt")}
        by_task: dict[str, Choices] = {}
        for path in paths:
            if path in one_per_run.values() and (described := _describe(path, path.stat().st_mtime_ns)):
                task, text = described
                by_task.setdefault(task, []).append(self._choice(path, path.parents[1], f", {text}"))
        return by_task

    def generator(self, name: str | None) -> GeneratorFile:
        """Opens a generator file once, and again when it has changed.

        Raises:
            UsageError: when no listing has this name, or the file is damaged.
        """
        if name is None:
            raise UsageError(f"there is no generator under {self.root}; train one with twofold fit -c gan")
        trained: GeneratorFile = self._open(open_generator, name)
        return trained

    def network(self, name: str) -> tuple[Model, Task]:
        """Opens a checkpoint once, and again when it has changed; returns the network and its task.

        Raises:
            UsageError: when no listing has this name, or as `scripts.tasks.load` does.
        """
        opened: tuple[Model, Task] = self._open(load, name)
        return opened

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
def _describe(path: Path, modified: int) -> tuple[str, str] | None:
    """The task and the network in a checkpoint; None for the checkpoint of something else, or a damaged one."""
    try:
        match read_tensors(path):
            case {"module": str(name)} if name in MODULES:
                model, task = load(path)
                return title_of(task), describe(model.network)
    except ValueError:
        pass
    except UsageError as error:
        print(f"explore: left out {path.parents[1]}: {one_line(error)}", file=sys.stderr)
    return None
