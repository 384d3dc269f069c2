"""Whether two runs left the same bits: numbers, pictures, generators and the state of training."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from common.files import read_tensors

MAY_DIFFER = ("wandb", "timing.csv", "run.json", ".lock")
"""Files with times, and files that belong to one machine."""


def differences(expected: Path, actual: Path) -> list[str]:
    """The differences between two run folders, each in words; empty if there are none.

    All files are compared byte by byte, except for checkpoints: of the last and the best, the state of training is
    compared. Lightning's loops are left out, because they count from where a resumed run began.
    """
    found = []
    ours, theirs = _files(expected), _files(actual)
    for name in sorted(ours | theirs):
        if name not in theirs or name not in ours:
            found.append(f"{name} is {'missing' if name in ours else 'unexpected'}")
        elif (expected / name).read_bytes() != (actual / name).read_bytes():
            found.append(f"{name} differs")
    for name in (Path("checkpoints", "last.ckpt"), Path("checkpoints", "best.ckpt")):
        one, other = (_state(folder / name) for folder in (expected, actual))
        found += [f"{name}: {where}" for where in unequal(one, other)]
    return found


def _state(checkpoint: Path) -> dict[str, Any]:
    """The state of training in a checkpoint; empty where there is none."""
    state = read_tensors(checkpoint) if checkpoint.exists() else {}
    state.pop("loops", None)
    return state


def _files(folder: Path) -> set[Path]:
    files = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    return {path for path in files if path.parts[0] not in (*MAY_DIFFER, "checkpoints")}


def unequal(one: Any, other: Any, where: str = "") -> Iterator[str]:
    """Where two structures of tensors and plain values differ, such as "state_dict.weight"; a NaN equals a NaN."""
    if type(one) is not type(other):
        yield where
    elif isinstance(one, torch.Tensor):
        if one.dtype != other.dtype or one.shape != other.shape or not torch.equal(_bits(one), _bits(other)):
            yield where
    elif isinstance(one, dict):
        if list(one) != list(other):
            yield where
        else:
            for key in one:
                yield from unequal(one[key], other[key], f"{where}.{key}" if where else str(key))
    elif isinstance(one, list | tuple):
        if len(one) != len(other):
            yield where
        for index, pair in enumerate(zip(one, other, strict=False)):
            yield from unequal(*pair, f"{where}.{index}")
    elif one != other and (one == one or other == other):
        yield where


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.contiguous().flatten().view(torch.uint8)
