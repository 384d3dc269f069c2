"""The files that `predict` writes."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter
from torch import Tensor

from callbacks.drawing import write_numbered
from common.sharding import all_gather_objects


class PredictionFiles(BasePredictionWriter):
    """Writes what `predict_step` returns under `trainer.default_root_dir`.

    A dictionary of columns, lists or tensors, becomes rows of `predictions.csv`; a tensor of images in [−1, 1] becomes
    `samples/000000.png`, `samples/000001.png` and so on. With several processes, rank r predicts the rows r, r + R, …
    of each batch, and rank 0 writes all of them in the order of the data.
    """

    def __init__(self) -> None:
        super().__init__("batch")

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._written = 0

    def write_on_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, prediction: Any, batch_indices: Any, *_: Any
    ) -> None:
        # Lightning knows a batch's indices only for a torch DataLoader, which ours aren't.
        if isinstance(prediction, Mapping):
            columns = [each.tolist() if isinstance(each, Tensor) else each for each in prediction.values()]
        elif isinstance(prediction, Tensor) and prediction.dim() > 0:
            columns = [prediction.cpu()]
        else:
            kind = type(prediction).__name__
            raise ValueError(f"PredictionFiles writes a tensor of images or a dict of columns, not one {kind}")
        rows = all_gather_objects([*zip(*columns, strict=True)])
        folder = Path(trainer.default_root_dir)
        if not trainer.is_global_zero:
            return
        if isinstance(prediction, Tensor):
            write_numbered(torch.stack([image for (image,) in rows]), folder / "samples", self._written)
        else:
            with (folder / "predictions.csv").open("a" if self._written else "w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows(rows if self._written else [[*prediction], *rows])
        self._written += len(rows)
