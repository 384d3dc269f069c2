"""Hides tips and deprecation warnings of Lightning and W&B that a user can't act on."""

import logging
import os
import warnings

CHATTER = (
    r".*does not have many workers.*",
    r".*litlogger.*|.*litmodels.*",
    r".*Checkpoint directory .* exists and is not empty.*",
    r".*callbacks used to create the checkpoint need to be provided.*",
    r".*The number of training batches .* is smaller than the logging interval.*",
    r".*`max_epochs` was not set.*",
    r".*You have overridden `transfer_batch_to_device`.*",
    r".*Detected call of `lr_scheduler.step\(\)` before `optimizer.step\(\)`.*",  # G may rest in the first batches
    r"\s*Unable to serialize instance.*",  # see Parser.dump
    r".*isinstance\(treespec, LeafSpec\).*",
    r".*Couldn.t infer the batch indices.*",  # of our loaders, which are no DataLoaders
    r".*It is recommended to use `self.log\(.*sync_dist=True.*",  # rank 0 logs what it alone evaluated
)


def filter_warnings() -> None:
    """Hides the warnings of `CHATTER`, and prints all others as one line.

    Call it after importing Lightning, which sets its loggers' levels.
    """
    for package in ("lightning.pytorch", "lightning.fabric", "pytorch_lightning"):
        logging.getLogger(package).setLevel(logging.WARNING)
    logging.getLogger("lightning.pytorch.profilers").setLevel(logging.INFO)  # whose report was asked for
    warnings.formatwarning = lambda message, *_, **__: f"twofold: {message}\n"
    for message in CHATTER:
        warnings.filterwarnings("ignore", message=message)
    logging.raiseExceptions = False  # a log that can't be written, on a full disk, is no news either
    os.environ.setdefault("WANDB_SILENT", "true")
