"""Palindromes and handwritten digits, as LightningDataModules whose batches are functions of seed and step."""

from datamodules.mnist import ImageBatch, MNISTDataModule
from datamodules.palindromes import ChunkedPalindromes, PalindromeBatch, PalindromeChunk, PalindromeDataModule

__all__ = [
    "ChunkedPalindromes",
    "ImageBatch",
    "MNISTDataModule",
    "PalindromeBatch",
    "PalindromeChunk",
    "PalindromeDataModule",
]
