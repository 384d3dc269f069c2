"""Stacked MNIST, the published test of mode coverage: three random digits as the channels of one image."""

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor

from common.seeding import derive, rng
from datamodules.images import ImageBatch
from datamodules.mnist.datamodule import MNISTDataModule, Source
from datamodules.resumable import EvaluationBatches, shuffled
from metrics.stacked_modes import CHANNELS, MODES, modes_of_digits


class StackedMNISTDataModule(MNISTDataModule):
    """Images of three channels, each a random digit of MNIST: 1,000 classes (modes), 000 to 999, as labels.

    Metz et al. 2017 (arXiv 1611.02163) introduced it, and Lin et al. 2018 (PacGAN, arXiv 1712.04086) made it a
    benchmark; see `metrics.stacked_modes`. In each epoch every training image is once in each channel, beside two that
    the seed chooses, so there are far more stacks than images. The stacks of a split hold images of this split only.

    Args:
        root, source, batch_size, predict_size: see `MNISTDataModule`.
        image_shape: 3 channels, height and width, which are 28 or more.

    Raises:
        ValueError: as `MNISTDataModule` does, and when there aren't three channels.
    """

    def __init__(
        self,
        root: str | Path = "data",
        source: Source = "auto",
        batch_size: int = 64,
        predict_size: int | None = None,
        image_shape: Sequence[int] = (3, 28, 28),
    ) -> None:
        super().__init__(root, source, batch_size, predict_size, image_shape=image_shape)
        if self.image_shape[0] != CHANNELS:
            raise ValueError(f"image_shape is {[*image_shape]}; a stack has {CHANNELS} channels, a digit in each")
        self.class_names = tuple(f"{number:0{CHANNELS}d}" for number in range(MODES))

    def _train_batch(self, rows: Int[Tensor, " split"], batches: int, k: int) -> ImageBatch:
        seeds = [derive(self.seed, "channel", channel) for channel in range(CHANNELS)]
        chosen = [shuffled(len(rows), self.batch_size, seed, k, batches) for seed in seeds]
        return self._images(rows[torch.stack(chosen, dim=1)])

    def _evaluation(self, rows: Int[Tensor, " split"]) -> EvaluationBatches[ImageBatch]:
        return super()._evaluation(stacked(rows))

    def _images(self, rows: Int[Tensor, "batch 3"]) -> ImageBatch:
        images, labels = super()._images(rows)
        return ImageBatch(images, modes_of_digits(labels))


def stacked(rows: Int[Tensor, " split"]) -> Int[Tensor, "split 3"]:
    """The rows of the digits in each stack of a split, always the same."""
    orders = [torch.randperm(len(rows), generator=rng(0, "stacks", channel)) for channel in range(CHANNELS)]
    return rows[torch.stack(orders, dim=1)]
