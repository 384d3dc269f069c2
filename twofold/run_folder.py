"""The folder of a run: `runs/<experiment>/<run id>/`, with `config.yaml` and `run.json`.

This module doesn't import torch, so that `twofold runs` is fast.
"""

import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from twofold.errors import UsageError

CONFIG = "config.yaml"
FACTS = "run.json"
THREADS = re.compile(r"^threads: \d+$", re.MULTILINE)
"""On another machine `threads: auto` may be another number."""


def runs_root() -> Path:
    """`$TWOFOLD_RUNS`, or `runs` in the current folder."""
    return Path(os.environ.get("TWOFOLD_RUNS") or "runs").expanduser()


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run.

    `run.json` holds the run's `id`, which survives moving and renaming the folder, the SLURM job's number, what the
    numbers depend on besides the config (`data_source`), and after training the `state` ("finished" or "failed"), the
    `step`, and what ended a finished run (`ended_by`).
    """

    path: Path

    @classmethod
    def create(cls, experiment: str | None, config: str, chosen: str | None = None) -> "RunFolder":
        """Makes a new folder that holds this config.

        Args:
            experiment: the folder's parent under `runs_root()`.
            config: the text of `config.yaml`.
            chosen: the folder's own path (`trainer.default_root_dir`), instead of a new one under `runs_root()`.

        Raises:
            UsageError: if the experiment isn't a folder's name, `chosen` isn't empty, or the folder can't be made.
        """
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", experiment or ""):
            raise UsageError(
                f"experiment '{experiment or ''}' names the folder of the runs; write letters, digits, '-', '_' and '.'"
            )
        run_id = f"{datetime.now():%Y%m%d-%H%M%S}-{secrets.token_hex(4)}"
        folder = cls(Path(chosen) if chosen else runs_root() / str(experiment) / run_id)
        try:
            if folder.path.exists() and any(folder.path.iterdir()):
                raise UsageError(f"--trainer.default_root_dir {chosen} isn't empty; write a new folder")
            folder.path.mkdir(parents=True, exist_ok=True)
            folder.keep_config(config)
            folder.note(id=run_id, slurm_job=os.environ.get("SLURM_JOB_ID"))
        except OSError as error:
            folder.discard()
            raise UsageError(
                f"can't make the run's folder {folder.path}: {error.strerror}; set TWOFOLD_RUNS to a writable folder"
            ) from error
        return folder

    @classmethod
    def of_requeued_job(cls, experiment: str | None, config: str, chosen: str | None = None) -> "RunFolder | None":
        """The run that this SLURM job started with the same config before it was requeued, or None."""
        if not int(os.environ.get("SLURM_RESTART_COUNT") or 0):
            return None
        job = os.environ.get("SLURM_JOB_ID")
        found = [cls(path.parent) for path in (runs_root() / str(experiment)).glob(f"*/{FACTS}")]
        for run in [cls(Path(chosen))] if chosen else found:
            own = run.config.read_text(encoding="utf-8")
            if run.facts.get("slurm_job") == job and THREADS.sub("", own) == THREADS.sub("", config):
                return run
        return None

    @classmethod
    def of_config(cls, config: Path) -> "RunFolder | None":
        """The run whose `config.yaml` this is, or None."""
        folder = cls(config.absolute().parent)
        return folder if config.name == CONFIG and folder.facts else None

    @classmethod
    def of_checkpoint(cls, checkpoint: Path) -> "RunFolder | None":
        """The run in whose `checkpoints/` this file lies, or None."""
        folder = cls(checkpoint.absolute().parent.parent)
        return folder if folder.facts else None

    @property
    def facts(self) -> dict[str, Any]:
        """The content of `run.json`; empty if the file is missing or damaged."""
        try:
            facts = json.loads((self.path / FACTS).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return facts if isinstance(facts, dict) and isinstance(facts.get("id"), str) else {}

    @property
    def id(self) -> str:
        return str(self.facts["id"])

    @property
    def config(self) -> Path:
        return self.path / CONFIG

    @property
    def step(self) -> int:
        """Batches trained: the number in `run.json`, or that of the newest checkpoint if it is higher."""
        noted: int = self.facts.get("step", 0)
        return max([noted, *map(_step, self.checkpoints())])

    @property
    def state(self) -> str:
        """running, finished, failed or interrupted."""
        try:
            with suppress(OSError), self.locked():  # a read-only folder can't be locked, nor trained in
                pass
        except UsageError:
            return "running"
        return str(self.facts.get("state", "interrupted"))

    @property
    def ended_by(self) -> list[str]:
        """Which of `max_steps`, `max_epochs`, `max_time` and `callbacks` ended a finished run; empty for others."""
        return list(self.facts.get("ended_by", ["max_steps"])) if self.facts.get("state") == "finished" else []

    def keep_config(self, text: str) -> None:
        """Replaces `config.yaml` atomically."""
        _replace(self.config, text)

    def note(self, **facts: Any) -> None:
        """Updates `run.json` atomically; a fact that is None is removed."""
        merged = {name: fact for name, fact in {**self.facts, **facts}.items() if fact is not None}
        _replace(self.path / FACTS, json.dumps(merged, indent=2) + "\n")

    def discard(self) -> None:
        """Removes the folder, and its parents if they are empty, except `$TWOFOLD_RUNS` itself."""
        with suppress(OSError):
            shutil.rmtree(self.path)
            self.path.parent.rmdir()
            if not os.environ.get("TWOFOLD_RUNS"):
                self.path.parent.parent.rmdir()

    def remove_drafts(self) -> None:
        """Removes the partial files of a killed process; call it within `locked`."""
        for draft in self.path.rglob(".*.part"):
            draft.unlink(missing_ok=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the folder's lock, which also ends with the process.

        Raises:
            UsageError: if another process holds it.
        """
        try:
            with FileLock(self.path / ".lock", timeout=0):
                yield
        except Timeout as error:
            raise UsageError(f"another process is training in {self.path}; wait for it or end it first") from error

    def checkpoint(self, name: str) -> Path | None:
        """`checkpoints/best.ckpt` or `checkpoints/last.ckpt`, or None."""
        path = self.path / "checkpoints" / f"{name}.ckpt"
        return path if path.is_file() else None

    def checkpoints(self) -> list[Path]:
        """The files `checkpoints/step=….ckpt`, newest first."""
        found = (path for path in (self.path / "checkpoints").glob("step=*.ckpt") if path.stem[5:].isdigit())
        return sorted(found, key=_step, reverse=True)


def _replace(path: Path, text: str) -> None:
    """Writes a file under a temporary name and renames it. (`common.files.replacing` would import torch.)"""
    draft = path.with_name(f".{path.name}.part")
    with draft.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def _step(checkpoint: Path) -> int:
    """500 for `step=000500.ckpt`."""
    return int(checkpoint.stem.removeprefix("step="))
