"""Which checkpoints a run keeps, and when they appear on disk."""

import os
import shutil
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from callbacks.batches import batches_trained
from callbacks.postponed_stop import is_last_batch_of_run, stops
from common.arguments import check_positive
from common.files import replacing

FOLDER = "checkpoints"
LAST = "last.ckpt"
BEST = "best.ckpt"


class Checkpoints(ModelCheckpoint):
    """Keeps the newest checkpoints, `last.ckpt`, and the best one by a metric, under `trainer.default_root_dir`.

    `checkpoints/step=000500.ckpt` holds the state after 500 batches. `last.ckpt` is a copy of the newest, and after
    training it is the final state. Each file is written under a temporary name. It gets its own name once the loggers
    have the rows of its batch, so a run that is killed in between resumes from the previous checkpoint and no row is
    missing. No path is stored in a checkpoint, so the folder may be moved between two parts of a run.

    It differs from `ModelCheckpoint` in that `save_top_k` counts the newest files, and `monitor` only chooses
    `best.ckpt`. `ckpt_path="last"` and `ckpt_path="best"` work in any Trainer.

    Args:
        every_n_train_steps: number of batches between two checkpoints.
        save_top_k: how many of the newest checkpoints to keep; -1 keeps all.
        monitor: validation metric that chooses `best.ckpt`; among equal values the newest wins. null keeps none.
        mode: whether a higher (max) or a lower (min) value is better.

    Raises:
        ValueError: if `every_n_train_steps` is below 1, or `save_top_k` is neither -1 nor at least 1; with a `monitor`,
            if training starts without validation; in validation, if nothing logs `monitor`. If `monitor` begins with
            `val/`, the sanity check already raises.
        MisconfigurationException: if `mode` is neither max nor min.
    """

    def __init__(
        self,
        every_n_train_steps: int = 1000,
        save_top_k: int = 2,
        monitor: str | None = None,
        mode: Literal["max", "min"] = "max",
    ) -> None:
        check_positive(every_n_train_steps=every_n_train_steps)
        if save_top_k < 1 and save_top_k != -1:
            raise ValueError(f"save_top_k is {save_top_k}; write 1 or more, -1 for all, or enable_checkpointing: false")
        super().__init__(monitor=monitor, mode=mode, save_last=True, every_n_train_steps=every_n_train_steps)
        self.every_n_train_steps = every_n_train_steps
        self.save_top_k = save_top_k  # ModelCheckpoint accepts 2 or more only with a monitor
        self._saved_at: int | None = None
        self._draft: Path | None = None
        self._asked = False

    @property
    def state_key(self) -> str:
        # ModelCheckpoint's also depends on the interval; the best by another metric must not be restored.
        return f"{type(self).__qualname__}(monitor={self.monitor}, mode={self.mode})"

    def ask(self) -> None:
        """Requests a checkpoint after the current batch."""
        self._asked = True

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.dirpath = os.path.join(trainer.default_root_dir, FOLDER)

    def _find_last_checkpoints(self, trainer: Trainer) -> set[str]:
        # How the Trainer resolves ckpt_path="last"; ModelCheckpoint would look in the first logger's folder.
        last = Path(trainer.default_root_dir) / FOLDER / LAST
        return {str(last)} if last.exists() else set()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        epochs = trainer.fit_loop.epoch_progress.total
        if epochs.completed == epochs.ready:
            # Where max_steps is set, Lightning would end an epoch that is over once more.
            trainer.fit_loop.epoch_loop.restarting = False
        self._saved_at = self._draft = None
        # The loaders are unknown until the first validation, if there was no sanity check.
        is_known = trainer.val_dataloaders is not None or not trainer.enable_validation
        if self.monitor is not None and is_known and not sum(trainer.num_val_batches):
            raise ValueError(
                "checkpoint.monitor chooses best.ckpt after validations, and this run has none; write null"
            )

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self.publish(trainer)

    def on_sanity_check_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.monitor is not None and self.monitor.startswith("val/"):  # others may be logged in training
            self._score(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # The last batch too: after this hook Lightning counts an epoch that a limit breaks off as complete.
        if batches_trained(trainer) % self.every_n_train_steps == 0 or is_last_batch_of_run(trainer) or self._asked:
            self._write_draft(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Again, with what other callbacks, such as EarlyStopping, have found out about the epoch in this hook.
        if trainer.is_last_batch and (self._draft is not None or stops(trainer)):
            self._write_draft(trainer)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        epochs = checkpoint["loops"]["fit_loop"]["epoch_progress"]
        if epochs["total"]["processed"] == epochs["total"]["ready"]:  # saved at the end of an epoch
            for count in epochs.values():
                count["completed"] = count["processed"]

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not _is_training(trainer) or trainer.sanity_checking:
            return
        if self.monitor is not None:
            self._save_if_best(trainer)
        if self._draft is not None or stops(trainer):
            self._write_draft(trainer)  # again: a resumed run doesn't repeat this validation

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._draft is None and self._saved_at != batches_trained(trainer):
            self._write_draft(trainer)
        self.publish(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        if self._draft is not None and trainer.is_global_zero:
            self._draft.unlink(missing_ok=True)

    def _score(self, trainer: Trainer) -> torch.Tensor:
        if self.monitor not in trainer.callback_metrics:
            logged = ", ".join(sorted(trainer.callback_metrics)) or "nothing"
            raise ValueError(f"checkpoint.monitor is '{self.monitor}', which isn't logged; write one of {logged}")
        return trainer.callback_metrics[self.monitor].detach().cpu()

    def _save_if_best(self, trainer: Trainer) -> None:
        score = self._score(trainer)
        better = torch.ge if self.mode == "max" else torch.le
        if not score.isnan() and (self.best_model_score is None or better(score, self.best_model_score)):
            self.best_model_score = score
            self.best_model_path = os.path.join(str(self.dirpath), BEST)
            draft = _save(trainer, Path(self.best_model_path))
            if trainer.is_global_zero:
                draft.replace(self.best_model_path)

    def _write_draft(self, trainer: Trainer) -> None:
        """Saves the present state under a temporary name."""
        if _is_training(trainer):
            self._draft = _save(trainer, Path(str(self.dirpath)) / f"step={batches_trained(trainer):06d}.ckpt")

    def publish(self, trainer: Trainer) -> None:
        """Renames the saved state, if there is one, to its final name; called when all of its batch is logged."""
        if self._draft is None:
            return
        draft, self._draft, self._asked = self._draft, None, False
        self._saved_at = batches_trained(trainer)
        newest = draft.with_name(f"step={self._saved_at:06d}.ckpt")
        last = newest.with_name(LAST)
        self.last_model_path = str(last)
        if not trainer.is_global_zero:
            return
        draft.replace(newest)
        copy_checkpoint(newest, last)
        if self.save_top_k > 0:
            # By age, not by step: an earlier run in the same folder may have trained longer. Clocks may be set back.
            others = {path for path in newest.parent.glob("step=*.ckpt") if path.stem[5:].isdecimal()} - {newest}
            newest_first = sorted(others, key=lambda path: path.stat().st_mtime_ns, reverse=True)
            for old in newest_first[self.save_top_k - 1 :]:
                old.unlink()

    def state_dict(self) -> dict[str, Any]:
        return {"best_model_score": self.best_model_score}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best_model_score = state_dict["best_model_score"]
        if self.best_model_score is not None:
            self.best_model_path = os.path.join(str(self.dirpath), BEST)


def copy_checkpoint(path: Path, to: Path) -> None:
    """Copies a checkpoint; the copy appears whole or not at all."""
    with replacing(to) as draft:
        shutil.copyfile(path, draft)


def _is_training(trainer: Trainer) -> bool:
    return trainer.state.fn == "fit" and not trainer.fast_dev_run  # type: ignore[attr-defined]


def _save(trainer: Trainer, path: Path) -> Path:
    """Saves beside `path` and returns the temporary name. All ranks have to call it."""
    draft = path.with_name(f".{path.name}.part")
    trainer.save_checkpoint(draft)
    return draft
