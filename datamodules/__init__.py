"""Palindromes, other sequence tasks and images, as LightningDataModules; batches follow from seed and step."""

from datamodules.image_folder import ImageFolderDataModule
from datamodules.images import ImageBatch, ImageDataModule
from datamodules.mnist import MNISTDataModule, StackedMNISTDataModule
from datamodules.palindromes import ChunkedPalindromes, PalindromeBatch, PalindromeChunk, PalindromeDataModule
from datamodules.sequences import (
    FlipFlopDataModule,
    InductionDataModule,
    ParityDataModule,
    RecallDataModule,
    SequenceBatch,
    SequenceDataModule,
)

__all__ = [
    "ChunkedPalindromes",
    "FlipFlopDataModule",
    "ImageBatch",
    "ImageDataModule",
    "ImageFolderDataModule",
    "InductionDataModule",
    "MNISTDataModule",
    "PalindromeBatch",
    "PalindromeChunk",
    "PalindromeDataModule",
    "ParityDataModule",
    "RecallDataModule",
    "SequenceBatch",
    "SequenceDataModule",
    "StackedMNISTDataModule",
]
