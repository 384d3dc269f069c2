"""Where a run's numbers go: CSV files for everybody, Weights & Biases for those who want more."""

from twofold.csv_logger import CSVLogger
from twofold.wandb_logger import TwofoldWandbLogger

__all__ = ["CSVLogger", "TwofoldWandbLogger"]
