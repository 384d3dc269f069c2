"""What the networks are trained on."""

from datamodules.mnist import ImageBatch, MNISTDataModule
from datamodules.palindromes import PalindromeBatch, PalindromeDataModule

__all__ = ["ImageBatch", "MNISTDataModule", "PalindromeBatch", "PalindromeDataModule"]
