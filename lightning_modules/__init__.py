"""What is trained."""

from lightning_modules.classifier import DigitClassifier
from lightning_modules.gan import GAN
from lightning_modules.palindrome import PalindromeLSTM, PalindromeRNN
from lightning_modules.sequence import SequenceModel

__all__ = ["GAN", "DigitClassifier", "PalindromeLSTM", "PalindromeRNN", "SequenceModel"]
