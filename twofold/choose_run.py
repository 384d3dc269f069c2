"""Which run a command works on, and which checkpoint it loads.

There is no process group before `trainer.fit`. So each rank makes the same decision from `-c` and `run.json`, without
writing; only rank 0 makes a folder, locks it, and prints. `RunMetadata.setup` compares the decisions.
"""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from callbacks.checkpoints import LAST, copy_checkpoint
from twofold.checkpoint_io import batches_of, read_checkpoint
from twofold.errors import UsageError
from twofold.ranks import is_rank_zero, warn
from twofold.resume import check_resumable, check_unfinished
from twofold.run_folder import FACTS, RunFolder

NO_CHECKPOINT = {
    "last": "train it first, by twofold fit with the same -c and --ckpt_path last",
    "best": "one is kept where the config has a checkpoint.monitor, from the first validation on; write last",
}


@dataclass
class Run:
    """What a command works on.

    Attributes:
        folder: None under `fast_dev_run`, for a checkpoint outside of a run, and for a new run on ranks above 0.
        checkpoint: the file to load; None for fresh weights.
        step: the number of batches that the checkpoint has trained.
        is_new: whether this command starts the run.
    """

    folder: RunFolder | None
    checkpoint: Path | None = None
    step: int = 0
    is_new: bool = False

    def discard_if_new(self) -> None:
        """Removes the folder if this command made it."""
        if self.is_new and self.folder is not None:
            self.folder.discard()


def choose_run(settings: Any, text: str, own_config: Callable[[RunFolder], dict[str, Any]], stack: ExitStack) -> Run:
    """The new or resumed run of `twofold fit`.

    Args:
        settings: the parsed config.
        text: the same as YAML, as it will stand in the run's folder.
        own_config: returns the present config of a run.
        stack: holds the lock on the folder.
    """
    asked, chosen = settings.ckpt_path, settings.trainer.default_root_dir
    if settings.trainer.fast_dev_run:
        if asked is not None:
            raise UsageError("fast_dev_run starts from fresh weights; leave --ckpt_path out")
        return Run(None, is_new=True)
    requeued = RunFolder.of_requeued_job(settings.experiment, text, chosen)
    if asked == "last" or (asked is None and requeued):
        folder = requeued or _run_of(settings)
        if chosen is not None and folder.path.resolve() != Path(chosen).resolve():
            raise UsageError(f"the run is in {folder.path}, not in {chosen}; leave --trainer.default_root_dir out")
        if is_rank_zero():
            stack.enter_context(folder.locked())
            folder.remove_drafts()
        before, now = own_config(folder), yaml.safe_load(text)
        for warning in check_resumable(before, now):
            warn(warning)
        check_unfinished(folder, before, now)
        newest = newest_whole_checkpoint(folder)
        if newest is None:
            warn(f"{folder.path} has no checkpoint to go on from: the run starts from batch 0, and its rows start anew")
        elif is_rank_zero():
            _restore_last(newest[0])
        return Run(folder, *(newest or ()))
    if asked is not None:
        raise UsageError(f"fit can't resume from {asked}; write -c runs/…/config.yaml --ckpt_path last")
    if not is_rank_zero():
        return Run(None, is_new=True)
    folder = RunFolder.create(settings.experiment, text, chosen)
    stack.enter_context(folder.locked())
    return Run(folder, is_new=True)


def choose_weights(command: str, settings: Any) -> Run:
    """The run and the checkpoint of `twofold validate`, `test` or `predict`."""
    asked = settings.ckpt_path
    if asked is None:
        raise UsageError(f"{command} needs trained weights: add --ckpt_path last, best or a file")
    if asked in ("last", "best"):
        folder = _run_of(settings)
        if asked == "last" and (newest := newest_whole_checkpoint(folder)):
            return Run(folder, *newest)
        if folder.checkpoint(asked) is None:
            raise UsageError(f"the run in {folder.path} has no {asked} checkpoint; {NO_CHECKPOINT[asked]}")
        asked = str(folder.checkpoint(asked))
    try:
        return Run(RunFolder.of_checkpoint(Path(asked)), Path(asked), batches_of(read_checkpoint(asked)))
    except ValueError as error:
        raise UsageError(f"--ckpt_path: {error}") from error


def newest_whole_checkpoint(folder: RunFolder) -> tuple[Path, int] | None:
    """The newest checkpoint that can be read, and its step; None if there are no checkpoints yet.

    Names each damaged one on stderr.

    Raises:
        UsageError: if there are checkpoints, and all are damaged.
    """
    candidates = [*folder.checkpoints(), *filter(None, [folder.checkpoint("last")])]
    for path in candidates:
        try:
            return path, batches_of(read_checkpoint(path))
        except ValueError as error:
            warn(f"{error}; it is skipped")
    if candidates:
        raise UsageError(
            f"all checkpoints in {folder.path} are damaged, and nothing there was changed; "
            "start a new run without --ckpt_path"
        )
    return None


def _restore_last(newest: Path) -> None:
    """Makes `last.ckpt` a copy of the newest checkpoint, if a process was killed before it did so."""
    last = newest.with_name(LAST)
    if not last.exists() or last.stat().st_mtime_ns < newest.stat().st_mtime_ns:
        copy_checkpoint(newest, last)


def _run_of(settings: Any) -> RunFolder:
    """The run whose `config.yaml` is the last `-c`."""
    config = Path(str(settings.config[-1])) if settings.config else Path()
    folder = RunFolder.of_config(config)
    if folder is None and (config.absolute().parent / "checkpoints").is_dir():
        raise UsageError(f"{config.parent / FACTS}, which identifies the run, is missing or damaged; put it back")
    if folder is None:
        raise UsageError(
            f"--ckpt_path {settings.ckpt_path} needs a run's own config, but {config} is not one; "
            "write -c runs/…/config.yaml (`twofold runs` lists them)"
        )
    return folder
