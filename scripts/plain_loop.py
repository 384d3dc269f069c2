"""Training many networks in a row: a Trainer that only trains, in a process of its own."""

import logging
import warnings
from collections.abc import Sequence

import torch
from lightning.pytorch import Callback, Trainer

from twofold.warning_filters import filter_warnings


def settle() -> None:
    """To be called first in a process that trains small networks: one thread, no talk, no denormal numbers.

    Gradients too small for a normal float32 are 0 from then on. A CPU calculates several times slower with denormal
    numbers, and next to Adam's ε of 1e-8 they are nothing.
    """
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    filter_warnings()
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


def bare_trainer(callbacks: Sequence[Callback], max_steps: int = -1, gradient_clip_val: float | None = 1.0) -> Trainer:
    """On the CPU, with gradients clipped at this norm, without validation, logger, checkpoints and bar."""
    return Trainer(
        accelerator="cpu",
        max_steps=max_steps,
        max_epochs=-1,
        gradient_clip_val=gradient_clip_val,
        limit_val_batches=0,
        callbacks=list(callbacks),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
