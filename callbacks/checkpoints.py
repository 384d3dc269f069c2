"""Which checkpoints a run keeps."""

import math
import os
import shutil
from pathlib import Path
from typing import Any, Literal, get_args

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from common.files import replacing

FOLDER = "checkpoints"
LAST = "last.ckpt"
BEST = "best.ckpt"
OF_VALIDATION = "val/"
"""Begins the names of what is logged in validation."""

Mode = Literal["max", "min"]


class Checkpoints(Checkpoint):
    """Keeps the newest checkpoints, `last.ckpt`, and the best one by a metric, under `trainer.default_root_dir`.

    `checkpoints/step=000500.ckpt` holds the state after 500 batches; `last.ckpt` is the newest of them, and the state
    in which training ended. A file is written under another name and then renamed, so it is never half there. It gets
    its name when the loggers have all that belongs to its batches: a run that is killed in between goes on from the
    checkpoint before, and no row is missing. Which files are old is read off the folder, so the folder may be moved
    between two parts of a run.

    Args:
        every_n_batches: distance between two checkpoints.
        keep: how many of the newest stay.
        monitor: metric logged in validation by which `best.ckpt` is chosen, of equals the newest; null keeps none.
        mode: whether the best value is the highest (max) or the lowest (min).

    Raises:
        ValueError: when `every_n_batches` or `keep` is below 1, or `mode` is neither max nor min; in validation, or
            before training where the trainer has `num_sanity_val_steps`, when nothing logs a `monitor` val/….
    """

    def __init__(
        self,
        every_n_batches: int = 1000,
        keep: int = 2,
        monitor: str | None = None,
        mode: Mode = "max",
    ) -> None:
        if every_n_batches < 1:
            raise ValueError(f"every_n_batches is {every_n_batches}; write 1 or more")
        if keep < 1:
            raise ValueError(f"keep is {keep}; write 1 or more, or switch checkpoints off by enable_checkpointing")
        if mode not in get_args(Mode):
            raise ValueError(f"mode is '{mode}'; write max or min")
        self.every_n_batches = every_n_batches
        self.keep = keep
        self.monitor = monitor
        self.sign = 1 if mode == "max" else -1
        self.best_score = -self.sign * math.inf
        self.saved_at: int | None = None
        self._draft: Path | None = None
        self._asked = False

    def ask(self) -> None:
        """Asks for a checkpoint after the batch that is being trained; from `publish` on `saved_at` tells of it."""
        self._asked = True

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.saved_at = self._draft = None

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self.publish(trainer)

    def on_sanity_check_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Another metric may be logged in training, later.
        if self.monitor is not None and self.monitor.startswith(OF_VALIDATION):
            _score(trainer, self.monitor)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # The last one's too, because after this hook Lightning counts an epoch that it broke off as complete.
        is_last = trainer.global_step == trainer.max_steps or trainer.should_stop
        if trainer.global_step % self.every_n_batches == 0 or is_last or self._asked:
            self._draw_up(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not _keeps_files(trainer) or trainer.sanity_checking:
            return
        if self.monitor is not None:
            self._keep_if_best(trainer, self.monitor)
        if self._draft is not None:
            # A run that goes on from here doesn't validate again, so what came of it belongs into the file.
            self._draw_up(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._draft is None and self.saved_at != trainer.global_step:
            self._draw_up(trainer)
        self.publish(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        if self._draft is not None and trainer.is_global_zero:
            self._draft.unlink(missing_ok=True)

    def _keep_if_best(self, trainer: Trainer, monitor: str) -> None:
        score = _score(trainer, monitor)
        if self.sign * score >= self.sign * self.best_score:
            self.best_score = score
            best = _folder(trainer) / BEST
            draft = _write(trainer, best)
            if trainer.is_global_zero:
                draft.replace(best)

    def _draw_up(self, trainer: Trainer) -> None:
        """Writes the state as it is now, but not yet under its name."""
        if _keeps_files(trainer):
            self._draft = _write(trainer, _folder(trainer) / f"step={trainer.global_step:06d}.ckpt")

    def publish(self, trainer: Trainer) -> None:
        """Gives what was drawn up its name, if there is something; called when all of its batch has been logged."""
        if self._draft is None:
            return
        draft, self._draft = self._draft, None
        self.saved_at = trainer.global_step
        self._asked = False
        if not trainer.is_global_zero:
            return
        folder = _folder(trainer)
        newest = folder / f"step={trainer.global_step:06d}.ckpt"
        draft.replace(newest)
        _give_second_name(newest, folder / LAST)
        # By age, not by step: what an earlier run left in the folder may have come further. But clocks are set back.
        others = [path for path in folder.glob("step=*.ckpt") if path.stem.removeprefix("step=").isdecimal()]
        others.remove(newest)
        others.sort(key=lambda path: path.stat().st_mtime_ns, reverse=True)
        for old in others[self.keep - 1 :]:
            old.unlink()

    def state_dict(self) -> dict[str, Any]:
        return {"best_score": self.best_score, "monitor": self.monitor, "sign": self.sign}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        # The best by another metric, or in the other direction, says nothing about this one.
        if (state_dict["monitor"], state_dict["sign"]) == (self.monitor, self.sign):
            self.best_score = state_dict["best_score"]


def _score(trainer: Trainer, monitor: str) -> float:
    score = trainer.callback_metrics.get(monitor)
    if score is None:
        logged = ", ".join(sorted(trainer.callback_metrics)) or "no other"
        raise ValueError(f"checkpoint.monitor is '{monitor}', which wasn't logged; logged were {logged}")
    return float(score)


def _keeps_files(trainer: Trainer) -> bool:
    """While a run trains, unless `fast_dev_run` only tries the code out."""
    return trainer.state.fn == "fit" and not trainer.fast_dev_run  # type: ignore[attr-defined]


def _folder(trainer: Trainer) -> Path:
    return Path(trainer.default_root_dir) / FOLDER


def _write(trainer: Trainer, path: Path) -> Path:
    """Saves under another name, which it returns; `path` and its second names keep the old state meanwhile."""
    draft = path.with_name(f".{path.name}.part")
    trainer.save_checkpoint(draft)
    return draft


def _give_second_name(source: Path, name: Path) -> None:
    """Makes `name` mean the file `source`, in one step; where the disk knows no hard links, a copy of it."""
    with replacing(name) as draft:
        draft.unlink(missing_ok=True)  # one left by a crash may be a name of an older checkpoint
        try:
            os.link(source, draft)
        except OSError:
            shutil.copyfile(source, draft)
