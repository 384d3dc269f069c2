"""Atomic writing and safe reading of files with weights.

A write is complete or leaves the old file in place. Reading accepts tensors and plain values only, so no code in a file
runs and nothing that a file names is imported.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors_bytes
from torch import Tensor

SAFETENSORS = ".safetensors"


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path beside `path` to write to, then flushes the file and renames it to `path`.

    When the block raises, `path` is unchanged and the temporary file is removed.

    Raises:
        OSError: when writing fails; names `path`.
    """
    path = Path(path)
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield draft
            with draft.open("rb+") as file:  # Windows flushes no file that is open for reading only
                os.fsync(file.fileno())
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def write_tensors(content: Any, path: str | Path) -> None:
    """Writes `content` by `torch.save`, atomically.

    Raises:
        OSError: when writing fails, for example because the disk is full.
    """
    with replacing(path) as draft, draft.open("wb") as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:  # torch hides the OSError of a full disk
            raise (error.__context__ if isinstance(error.__context__, OSError) else error) from None


def read_tensors(path: str | Path, map_location: Any = "cpu") -> Any:
    """Reads what `write_tensors` or `torch.save` wrote; accepts tensors and plain values only.

    `TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD` has no effect here, because `weights_only` is given.

    Raises:
        ValueError: when the file is missing, unreadable or damaged, or holds pickled code.
    """
    path = local_file(path)
    try:
        return torch.load(path, map_location=map_location, weights_only=True)
    except Exception as error:  # torch raises many kinds of exception for a damaged file
        raise ValueError(
            f"{path} is damaged or holds more than tensors and plain values, so it isn't loaded"
        ) from error


def write_safetensors(weights: Mapping[str, Tensor], path: str | Path, name: str, metadata: dict[str, Any]) -> None:
    """Writes a safetensors file, atomically, with `metadata` as JSON under `name` in the file's own metadata.

    The same weights and metadata give the same bytes.
    """
    # One entry, because safetensors writes several in any order; clones, because it refuses tensors that share memory.
    clones = {key: tensor.detach().cpu().contiguous().clone() for key, tensor in weights.items()}
    with replacing(path) as draft:
        draft.write_bytes(to_safetensors_bytes(clones, metadata={name: json.dumps(metadata)}))


def read_safetensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Returns the tensors of a safetensors file, on the CPU, and its metadata.

    Raises:
        ValueError: when the file is missing, unreadable or damaged.
    """
    path = local_file(path)
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise ValueError(f"{path} is damaged or isn't a safetensors file") from error


def local_file(path: str | Path) -> Path:
    """Returns `path` if it is a file that can be opened.

    Raises:
        ValueError: when it is a URL, missing, not a regular file, or not readable.
    """
    if re.match(r"[a-z][a-z0-9+.-]+:/", str(path), re.IGNORECASE):
        raise ValueError(f"{path} is a URL; download the file and write its path")
    path = Path(path)
    if not os.path.isfile(path):  # unlike Path.is_file, it doesn't raise in a folder without permission
        raise ValueError(f"{path} is not a file")
    try:
        path.open("rb").close()
    except OSError as error:
        raise ValueError(f"{path} can't be read ({error.strerror})") from error
    return path
