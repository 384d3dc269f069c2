"""Sequence tasks in the forms that the literature uses, reduced in size: batches of symbols and targets."""

from common.targets import UNASKED
from datamodules.sequences.datamodule import SequenceBatch, SequenceDataModule
from datamodules.sequences.flip_flop import FlipFlopDataModule
from datamodules.sequences.induction import InductionDataModule
from datamodules.sequences.parity import ParityDataModule
from datamodules.sequences.recall import RecallDataModule

__all__ = [
    "UNASKED",
    "FlipFlopDataModule",
    "InductionDataModule",
    "ParityDataModule",
    "RecallDataModule",
    "SequenceBatch",
    "SequenceDataModule",
]
