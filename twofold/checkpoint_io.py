"""Checkpoint files: written atomically, read without running code."""

from pathlib import Path
from typing import Any

from lightning.fabric.plugins import TorchCheckpointIO

from common.files import read_tensors, write_tensors


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its final name, flushes and renames it; reads tensors and plain values only."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        write_tensors(checkpoint, path)

    def load_checkpoint(
        self, path: str | Path, map_location: Any = "cpu", weights_only: bool | None = None
    ) -> dict[str, Any]:
        return read_checkpoint(path, map_location)


def batches_of(checkpoint: dict[str, Any]) -> int:
    """Returns how many batches a checkpoint has trained; its `global_step` counts optimizer steps."""
    total: dict[str, int] = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["total"]
    return min(total["started"], total["processed"])  # see callbacks.batches


def read_checkpoint(path: str | Path, map_location: Any = "cpu") -> dict[str, Any]:
    """Reads what a Trainer saved.

    Raises:
        ValueError: if `common.files.read_tensors` refuses the file, or it is no checkpoint.
    """
    content: dict[str, Any] = read_tensors(path, map_location)
    match content:
        case {"state_dict": dict(), "global_step": int(), "loops": dict()}:
            return content
    raise ValueError(f"{path} is not a checkpoint")
