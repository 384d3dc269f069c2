"""What `predict` leaves on disk."""

import csv
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from callbacks.drawing import write_numbered
from common.sharding import all_gather, all_gather_objects


class PredictionFiles(Callback):
    """Writes what `predict_step` returns under `trainer.default_root_dir`.

    A dictionary of columns becomes rows of `predictions.csv`; a tensor of images in [−1, 1] becomes
    `samples/000000.png`, `samples/000001.png` and so on. Where many processes predict, rank 0 writes what all of them
    return, in the order of the data.
    """

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._folder = Path(trainer.default_root_dir)
        self._table = self._folder / "predictions.csv"
        self._images = 0
        self._rows = 0

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if isinstance(outputs, Tensor):
            images = all_gather(outputs)
            if trainer.is_global_zero:
                self._write_images(images)
        else:
            rows = all_gather_objects(list(zip(*outputs.values(), strict=True)))
            if trainer.is_global_zero:
                self._write_rows(list(outputs), rows)

    def _write_images(self, images: Tensor) -> None:
        write_numbered(images, self._folder / "samples", self._images)
        self._images += len(images)

    def _write_rows(self, columns: list[str], rows: list[tuple[Any, ...]]) -> None:
        with self._table.open("a" if self._rows else "w", newline="") as file:
            writer = csv.writer(file)
            if not self._rows:
                writer.writerow(columns)
            writer.writerows(rows)
        self._rows += len(rows)
