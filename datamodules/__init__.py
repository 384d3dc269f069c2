"""What the networks are trained on."""

from datamodules.chunks import ChunkedPalindromes, PalindromeChunk
from datamodules.mnist import ImageBatch, MNISTDataModule
from datamodules.palindromes import PalindromeBatch, PalindromeDataModule

__all__ = [
    "ChunkedPalindromes",
    "ImageBatch",
    "MNISTDataModule",
    "PalindromeBatch",
    "PalindromeChunk",
    "PalindromeDataModule",
]
