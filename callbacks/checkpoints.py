"""Which checkpoints a run keeps."""

import os
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

FOLDER = "checkpoints"
LAST = "last.ckpt"
BEST = "best.ckpt"


class Checkpoints(Checkpoint):
    """Keeps the newest checkpoints, `last.ckpt`, and the best one by a metric, under `trainer.default_root_dir`.

    `checkpoints/step=000500.ckpt` holds the state after 500 batches; `last.ckpt` is the newest of them, and the state
    in which training ended. Which files are old is read off the folder, so the folder may be moved between two parts
    of a run.

    Args:
        every_n_batches: distance between two checkpoints.
        keep: how many of the newest stay.
        monitor: metric logged in validation by which `best.ckpt` is chosen; null keeps none.
        mode: whether the best value is the highest (max) or the lowest (min).

    Raises:
        ValueError: when `every_n_batches` or `keep` is below 1.
    """

    def __init__(
        self,
        every_n_batches: int = 1000,
        keep: int = 2,
        monitor: str | None = None,
        mode: Literal["max", "min"] = "max",
    ) -> None:
        if every_n_batches < 1:
            raise ValueError(f"every_n_batches is {every_n_batches}; write 1 or more")
        if keep < 1:
            raise ValueError(f"keep is {keep}; write 1 or more, or switch checkpoints off by enable_checkpointing")
        self.every_n_batches = every_n_batches
        self.keep = keep
        self.monitor = monitor
        self.mode = mode
        self.best_score: float | None = None

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step % self.every_n_batches == 0:
            self._save(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.monitor is None or not _keeps_files(trainer) or trainer.sanity_checking:
            return
        score = trainer.callback_metrics.get(self.monitor)
        if score is None:
            logged = ", ".join(sorted(trainer.callback_metrics))
            raise ValueError(f"checkpoint.monitor is '{self.monitor}', which wasn't logged; logged were {logged}")
        sign = 1 if self.mode == "max" else -1
        if self.best_score is None or sign * float(score) > sign * self.best_score:
            self.best_score = float(score)
            trainer.save_checkpoint(self._folder(trainer) / BEST)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._save(trainer)

    def _save(self, trainer: Trainer) -> None:
        if not _keeps_files(trainer):
            return
        folder = self._folder(trainer)
        newest = folder / f"step={trainer.global_step:06d}.ckpt"
        trainer.save_checkpoint(newest)
        if not trainer.is_global_zero:
            return
        _hard_link(newest, folder / LAST)
        by_step = sorted(folder.glob("step=*.ckpt"), key=lambda path: int(path.stem.partition("=")[2]))
        for old in by_step[: -self.keep]:
            old.unlink()

    def _folder(self, trainer: Trainer) -> Path:
        return Path(trainer.default_root_dir) / FOLDER

    def state_dict(self) -> dict[str, Any]:
        return {"best_score": self.best_score}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best_score = state_dict["best_score"]


def _keeps_files(trainer: Trainer) -> bool:
    """While a run trains, unless `fast_dev_run` only tries the code out."""
    return trainer.state.fn == "fit" and not trainer.fast_dev_run  # type: ignore[attr-defined]


def _hard_link(source: Path, name: Path) -> None:
    """Gives `source` a second name in one step, replacing what had that name."""
    draft = name.with_name(f".{name.name}.{os.getpid()}.part")
    draft.unlink(missing_ok=True)
    os.link(source, draft)
    draft.replace(name)
