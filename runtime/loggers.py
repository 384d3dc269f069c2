"""Where a run's numbers go: CSV files for everybody, Weights & Biases for those who want more."""

from runtime.csv_files import CSVFiles
from runtime.wandb_run import WandbRun

__all__ = ["CSVFiles", "WandbRun"]
