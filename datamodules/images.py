"""The base of datamodules that hold all their images in one tensor, from which batches are sliced."""

import inspect
import shlex
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from common.arguments import check_positive
from datamodules.resumable import (
    BatchStream,
    EvaluationBatches,
    ResumableDataModule,
    count_batches,
    in_order,
    philox,
    shuffled,
)
from networks.registry import to_plain

SPLIT_SEED = 0
"""The same for every run, so that a classifier that evaluates a generator was not trained on the test images."""

OF_BATCHES = ("batch_size", "predict_size")
"""Arguments that don't choose the images."""


class ImageBatch(NamedTuple):
    """`images`: float32 in [−1, 1]; `labels`: int64, counted from 0."""

    images: Float[Tensor, "batch channels height width"]
    labels: Int[Tensor, " batch"]


class SplitImages(NamedTuple):
    """All images, their labels, counted from 0, and the rows of each split."""

    images: UInt8[Tensor, "size channels height width"]
    labels: Int[Tensor, " size"]
    train: Int[Tensor, " train"]
    validation: Int[Tensor, " validation"]
    test: Int[Tensor, " test"]


class ImageDataModule(ResumableDataModule):
    """All images in one tensor, from which batches are sliced; every epoch shuffles it anew.

    A subclass sets the attributes and puts the images into `_splits`, in its constructor or in `setup`.

    Args:
        batch_size: images per batch, over all devices together; the last batch of an epoch may be smaller, and is left
            out if a device would get fewer than two images of it.
        predict_size: number of test images to predict; null predicts all of them.

    Raises:
        ValueError: when a size is below 1; from `train_dataloader` when a batch is larger than the data.

    Attributes:
        image_shape: channels, height and width.
        class_names: of the labels 0, 1 and so on; empty for images without classes.
        data_source: names the images in captions and run folders; None before they are loaded.
        mean_and_std: of the training images' pixels in [−1, 1]; None where they are those of MNIST.
    """

    image_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    data_source: str | None = None
    mean_and_std: tuple[float, float] | None = None

    def __init__(self, batch_size: int, predict_size: int | None) -> None:
        super().__init__()
        check_positive(batch_size=batch_size)
        if predict_size is not None:
            check_positive(predict_size=predict_size)
        self.batch_size = batch_size
        self.predict_size = predict_size
        self._splits: SplitImages | None = None
        self._on_device: tuple[Tensor, Tensor] | None = None

    @property
    def classes(self) -> int:
        """The number of classes; 0 for images without classes."""
        return len(self.class_names)

    @property
    def splits(self) -> SplitImages:
        """All images and their splits.

        Raises:
            ValueError: before `setup`.
        """
        if self._splits is None:
            raise ValueError("the images aren't loaded yet; call prepare_data() and setup() first")
        return self._splits

    @property
    def options(self) -> str:
        """The options of `twofold` that choose these images: the class, what isn't as by default, and the batch size.

        The default batch size of another config may exceed the data.
        """
        defaults = inspect.signature(type(self)).parameters
        chosen = ["--data", type(self).__name__]
        for name, value in self.hparams.items():
            if name not in OF_BATCHES and value != to_plain(defaults[name].default):
                chosen += [f"--data.{name}", str(value).replace(" ", "") if isinstance(value, list) else str(value)]
        return shlex.join([*chosen, "--data.batch_size", str(self.batch_size)])

    def train_dataloader(self) -> BatchStream[ImageBatch]:
        rows = self.splits.train
        if self.batch_size > len(rows):
            raise ValueError(
                f"batch_size is {self.batch_size:,}, but there are {len(rows):,} training images; write a smaller one"
            )
        batches = count_batches(len(rows), self.batch_size)
        devices = self.trainer.world_size if self.trainer else 1
        if 0 < len(rows) % self.batch_size < 2 * devices:
            batches -= 1  # BatchNorm has no statistics of one image
        return self.train_stream(partial(self._train_batch, rows, batches), batches)

    def val_dataloader(self) -> EvaluationBatches[ImageBatch]:
        return self._evaluation(self.splits.validation)

    def test_dataloader(self) -> EvaluationBatches[ImageBatch]:
        return self._evaluation(self.splits.test)

    def predict_dataloader(self) -> EvaluationBatches[ImageBatch]:
        return self._evaluation(self.splits.test[: self.predict_size])

    def _evaluation(self, rows: Int[Tensor, " *split"]) -> EvaluationBatches[ImageBatch]:
        number = count_batches(len(rows), self.batch_size)
        return EvaluationBatches(partial(self._evaluation_batch, rows), number)

    def _train_batch(self, rows: Int[Tensor, " split"], batches: int, k: int) -> ImageBatch:
        return self._images(rows[shuffled(len(rows), self.batch_size, self.seed, k, batches)])

    def _evaluation_batch(self, rows: Int[Tensor, " *split"], k: int) -> ImageBatch:
        return self._images(rows[in_order(len(rows), self.batch_size, k)])

    def _images(self, rows: Int[Tensor, " *batch"]) -> ImageBatch:
        """This rank's images of a batch, on the trainer's device. Each has a row, or a row for each channel."""
        rows = self.shard(rows)
        device = self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
        if device.type == "cpu":
            # In NumPy, because torch would wake its threads for this, which takes longer than the work.
            whole = self.splits.images.numpy()
            pixels = whole[rows.view(len(rows), -1).numpy(), np.arange(whole.shape[1])].astype(np.float32)
            return ImageBatch(torch.from_numpy(pixels / 127.5 - 1), self.splits.labels[rows])
        if self._on_device is None or self._on_device[0].device != device:
            self._on_device = self.splits.images.to(device), self.splits.labels.to(device)  # all, once
        images, labels = self._on_device
        rows = rows.to(device, non_blocking=device.type == "cuda")
        chosen = images[rows.view(len(rows), -1), torch.arange(images.shape[1], device=device)]
        return ImageBatch(chosen.float() / 127.5 - 1, labels[rows])


def split_by_class(
    labels: Int[Tensor, " size"], one_in: int, seed: int = SPLIT_SEED
) -> tuple[Int[Tensor, " rest"], Int[Tensor, " taken"]]:
    """Takes one row in `one_in` of every class (to within one row). Both parts are shuffled."""
    order = torch.from_numpy(philox(seed, "split by class").permutation(len(labels)))
    by_class = order[labels[order].argsort(stable=True)]
    taken = torch.zeros(len(labels), dtype=torch.bool)
    taken[by_class[::one_in]] = True
    return order[~taken[order]], order[taken[order]]
