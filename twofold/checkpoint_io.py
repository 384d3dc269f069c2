"""Checkpoint files that are whole or not there, and that bring no code along."""

import re
from pathlib import Path
from typing import Any

from lightning.fabric.plugins import TorchCheckpointIO

from common.files import read_tensors, write_tensors

LOOPS = {"fit_loop", "validate_loop", "test_loop", "predict_loop"}
PARTS: dict[str, type] = {"callbacks": dict, "optimizer_states": list, "lr_schedulers": list, "epoch": int}
"""What else Lightning saves, or leaves out where only weights are wanted."""


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its final name, flushes and renames it; reads tensors and plain values only."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        write_tensors(checkpoint, path)

    def load_checkpoint(
        self, path: str | Path, map_location: Any = "cpu", weights_only: bool | None = None
    ) -> dict[str, Any]:
        return read_checkpoint(path, map_location)


def read_checkpoint(path: str | Path, map_location: Any = "cpu") -> dict[str, Any]:
    """What a Trainer saved.

    Raises:
        ValueError: when `networks.generator_files.read_tensors` refuses the file, or it is no checkpoint.
    """
    content = read_tensors(path, map_location)
    match content:
        case {
            "state_dict": dict(weights),
            "global_step": int(step),
            "loops": dict(loops),
            "pytorch-lightning_version": str(version),
        } if (
            step >= 0
            and all(isinstance(name, str) for name in weights)
            and loops.keys() >= LOOPS
            and re.match(r"\d+\.\d", version)
            and all(isinstance(content.get(name, kind()), kind) for name, kind in PARTS.items())
        ):
            checkpoint: dict[str, Any] = content
            return checkpoint
    raise ValueError(f"{path} is not a checkpoint")
