"""Checkpoint files that are whole or not there, and that bring no code along."""

from pathlib import Path
from typing import Any

from lightning.fabric.plugins import TorchCheckpointIO

from networks.files import read_tensors, write_tensors


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its final name, flushes and renames it; reads tensors and plain values only."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        write_tensors(checkpoint, path)

    def load_checkpoint(
        self, path: str | Path, map_location: Any = "cpu", weights_only: bool | None = None
    ) -> dict[str, Any]:
        return read_tensors(path, map_location)
