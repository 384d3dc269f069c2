"""A run is a folder, `runs/<experiment>/<run id>/`, and what `run.json` in it says.

Nothing here needs torch, so that `twofold runs` answers at once.
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
LOCK = ".lock"

MOST_FACTS = 10**6
"""Bytes of a `run.json`, which has some hundreds."""


def runs_root() -> Path:
    """`$TWOFOLD_RUNS`, or `runs` under the current directory."""
    return Path(os.environ.get("TWOFOLD_RUNS") or "runs")


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run.

    `run.json` holds `id`, which survives moving and renaming the folder, under SLURM the number of the job, and once
    training has ended, `state` ("finished" or "failed"), `step`, the batches trained, and `ended_by_itself` if it
    stopped before it had to.
    """

    path: Path

    @classmethod
    def create(cls, experiment: str | None, config: str) -> "RunFolder":
        """Makes a new folder with this config in it; two runs never share one."""
        if experiment is None:
            raise UsageError(
                "the config lacks the key experiment, by which its runs are filed; add it or --experiment NAME"
            )
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", experiment):
            raise UsageError(f"experiment '{experiment}' names a folder; write letters, digits, '-', '_' and '.'")
        while True:
            run_id = f"{datetime.now():%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
            folder = cls(runs_root() / experiment / run_id)
            try:
                folder.path.mkdir(parents=True)
            except FileExistsError:
                continue
            except OSError as error:
                raise _cant_make(folder, error) from error
            try:
                folder.keep_config(config)
                folder.note(id=run_id, slurm_job=os.environ.get("SLURM_JOB_ID"))
            except OSError as error:
                folder.discard()
                raise _cant_make(folder, error) from error
            return folder

    @classmethod
    def of_requeued_job(cls, experiment: str | None, config: str) -> "RunFolder | None":
        """The run that this SLURM job started with the same config before it was queued again, if it was."""
        if not int(os.environ.get("SLURM_RESTART_COUNT") or 0):
            return None
        found = [cls(path.parent) for path in (runs_root() / str(experiment)).glob(f"*/{CONFIG}")]
        ours = [run for run in found if run.facts.get("slurm_job") == os.environ.get("SLURM_JOB_ID")]
        return next((run for run in ours if run.config.read_text() == config), None)

    @classmethod
    def of_config(cls, config: Path) -> "RunFolder | None":
        """The run whose `config.yaml` this is, if it is one's."""
        folder = cls(config.absolute().parent)
        return folder if config.name == CONFIG and folder.facts else None

    @classmethod
    def of_checkpoint(cls, checkpoint: Path) -> "RunFolder | None":
        """The run in whose `checkpoints/` this file lies, if it is in one's."""
        folder = cls(checkpoint.absolute().parent.parent)
        return folder if folder.facts else None

    @property
    def facts(self) -> dict[str, Any]:
        """What `run.json` says; empty without one, or when it is something else."""
        path = self.path / FACTS
        try:
            # Opening a pipe would wait for ever.
            facts = json.loads(path.read_text()) if path.is_file() and path.stat().st_size <= MOST_FACTS else None
        except (OSError, ValueError, RecursionError):
            return {}
        if not isinstance(facts, dict):
            return {}
        match {"step": 0, "state": "", "threads": 1, **facts}:
            case {"id": str(), "step": int(), "state": str(), "threads": int()}:
                return facts
        return {}

    @property
    def id(self) -> str:
        return str(self.facts["id"])

    @property
    def config(self) -> Path:
        return self.path / CONFIG

    @property
    def step(self) -> int:
        """Batches trained, as far as the disk knows: what the run said last, or its newest checkpoint."""
        noted: int = self.facts.get("step", 0)
        return max([noted, *map(_step, self.checkpoints())])

    @property
    def state(self) -> str:
        """running, finished, failed, or interrupted."""
        try:
            with self.locked():
                return str(self.facts.get("state", "interrupted"))
        except UsageError:
            return "running"
        except OSError:  # a folder that can't be written can't be trained in
            return str(self.facts.get("state", "interrupted"))

    def keep_config(self, text: str) -> None:
        """Writes `config.yaml`, in one step."""
        _replace(self.config, text)

    def note(self, **facts: Any) -> None:
        """Adds to `run.json`; None takes a fact out."""
        merged = {name: fact for name, fact in {**self.facts, **facts}.items() if fact is not None}
        _replace(self.path / FACTS, json.dumps(merged, indent=2) + "\n")

    def discard(self) -> None:
        """Removes the folder, and what it lies in as far as nothing else is there; not a place that was chosen."""
        with suppress(OSError):
            shutil.rmtree(self.path)
            self.path.parent.rmdir()
            if not os.environ.get("TWOFOLD_RUNS"):
                self.path.parent.parent.rmdir()

    def remove_drafts(self) -> None:
        """Removes files that a process that was killed had begun to write; call it within `locked`."""
        for draft in self.path.rglob(".*.part"):
            with suppress(OSError):
                draft.unlink()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Within, no other process works in this folder; the lock ends with the process, however it dies."""
        try:
            with FileLock(self.path / LOCK, timeout=0):
                yield
        except Timeout as error:
            raise UsageError(f"another process is training in {self.path}; wait for it or end it first") from error

    def checkpoint(self, name: str) -> Path | None:
        """`checkpoints/best.ckpt` or `checkpoints/last.ckpt`, if it is there."""
        path = self.path / "checkpoints" / f"{name}.ckpt"
        return path if path.is_file() else None

    def checkpoints(self) -> list[Path]:
        """The files `checkpoints/step=….ckpt`, newest first."""
        found = (path for path in (self.path / "checkpoints").glob("step=*.ckpt") if path.stem[5:].isdigit())
        return sorted(found, key=_step, reverse=True)


def _replace(path: Path, text: str) -> None:
    """Writes a file in one step."""
    draft = path.with_name(f".{path.name}.part")
    with draft.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def _cant_make(folder: RunFolder, error: OSError) -> UsageError:
    reason = f"can't make the run's folder {folder.path}: {error.strerror}"
    return UsageError(f"{reason}; set TWOFOLD_RUNS to a place that can be written")


def _step(checkpoint: Path) -> int:
    """The 500 of `step=000500.ckpt`."""
    return int(checkpoint.stem.removeprefix("step="))
