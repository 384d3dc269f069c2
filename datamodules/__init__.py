"""Palindromes, other sequence tasks and digit images, as LightningDataModules; batches follow from seed and step."""

from datamodules.mnist import ImageBatch, MNISTDataModule, StackedMNISTDataModule
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
