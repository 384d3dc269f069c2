"""Palindromes: random batches to train on, and chunked test sequences of any length."""

from datamodules.palindromes.chunks import ChunkedPalindromes, PalindromeChunk
from datamodules.palindromes.datamodule import PalindromeBatch, PalindromeDataModule

__all__ = ["ChunkedPalindromes", "PalindromeBatch", "PalindromeChunk", "PalindromeDataModule"]
