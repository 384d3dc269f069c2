"""Safe writing and reading of weights.

Writing never leaves a torn file under a good name; reading never runs code that a file brings along.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from warnings import catch_warnings
from zipfile import ZIP_STORED, ZipFile

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as as_safetensors
from torch import Tensor

SAFETENSORS = ".safetensors"


MOST_BYTES = 4 * 2**30
"""Of a file with weights; the largest network here takes some 10⁷."""


MOST_TEXT = 10**6
"""Bytes of what a file says of itself, which are some hundreds."""


MOST_VALUES = 10**6
"""In a checkpoint, counting a value each time it is met: a few references can make many of one."""


MOST_VIEWS = 4
"""How many times over the tensors of a file may use its bytes; tied weights use some twice."""


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yields a path beside `path` to write to; after a clean exit it has replaced `path` in one step, or not at all.

    Raises:
        OSError: when the disk refuses; names `path`.
    """
    path = Path(path)
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield draft
            with draft.open("rb") as file:
                os.fsync(file.fileno())
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def write_tensors(content: Any, path: str | Path) -> None:
    """Writes by `torch.save`, whole or not at all.

    Raises:
        OSError: when it can't be written, because the disk is full, say.
    """
    with replacing(path) as draft, draft.open("wb") as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:  # by which torch hides what the disk said
            raise (error.__context__ if isinstance(error.__context__, OSError) else error) from None


def read_tensors(path: str | Path, map_location: Any = "cpu") -> Any:
    """Reads what `torch.save` wrote, accepting tensors and plain values only, whatever the environment says.

    What comes out takes no more memory than a few times the file's size.

    Raises:
        ValueError: when there is no such file, it can't be read, is damaged, carries pickled code, or claims to hold
            more than it has room for.
    """
    path = readable(path, MOST_BYTES)
    try:
        honest = _has_room_for_its_parts(path)
        with catch_warnings(action="ignore"):  # torch's about sparse tensors, which are refused below
            content = torch.load(path, map_location=map_location, weights_only=True) if honest else None
    except UnpicklingError as error:
        raise ValueError(f"{path} holds more than tensors and plain values, so it isn't loaded") from error
    except Exception as error:  # torch's unpickler meets damage with many kinds of exception
        raise ValueError(f"{path} is damaged or wasn't written by torch.save") from error
    if not honest or _outgrows(content, path.stat().st_size):
        raise ValueError(f"{path} claims to hold more than it has room for, so it isn't loaded")
    return content


def _has_room_for_its_parts(path: Path) -> bool:
    """Whether an archive's parts lie there one beside the other and uncompressed, as torch.save puts them.

    Raises:
        Exception: of one kind or another, when it is no archive.
    """
    with path.open("rb") as start:
        if start.read(4) != b"PK\3\4":  # for anything else torch tries its older readers
            raise ValueError("not an archive")
    with ZipFile(path) as archive:
        parts = archive.infolist()
    return all(part.compress_type == ZIP_STORED for part in parts) and (
        sum(part.file_size for part in parts) <= path.stat().st_size
    )


def readable(path: str | Path, most: int) -> Path:
    """The path of a file that can be opened and is no larger than `most` bytes.

    Raises:
        ValueError: when it isn't. A pipe is none either: who opens one may wait for ever.
    """
    if re.match(r"[a-z][a-z0-9+.-]+:/", str(path), re.IGNORECASE):
        raise ValueError(f"{path} is an address; download it yourself and write the file's path")
    path = Path(path)
    if not os.path.isfile(path):  # Path.is_file() raises in a folder that may not be entered
        raise ValueError(f"{path} is not a file")
    if (size := path.stat().st_size) > most:
        raise ValueError(f"{path} has {size:,} bytes, and no such file has more than {most:,}; it isn't loaded")
    try:
        path.open("rb").close()
    except OSError as error:
        raise ValueError(f"{path} can't be read ({error.strerror})") from error
    return path


def _outgrows(content: Any, size: int) -> bool:
    """Whether what came out of a file of so many bytes takes much more than that, now or when it is used.

    A tensor may claim a size of which it holds but one number, or none, and a list may hold itself.
    """
    waiting, met, claimed = [content], 0, 0
    while waiting:
        value = waiting.pop()
        met += 1
        if isinstance(value, Tensor):
            if value.is_meta or value.layout is not torch.strided:
                return True
            claimed += value.numel() * value.element_size()
        elif isinstance(value, bytearray):
            claimed += len(value)
        elif isinstance(value, dict | list | tuple | set):
            if met + len(waiting) + len(value) > MOST_VALUES:
                return True
            waiting.extend(value.values() if isinstance(value, dict) else value)
        if claimed > MOST_VIEWS * size:
            return True
    return False


def write_safetensors(weights: Mapping[str, Tensor], path: str | Path, name: str, facts: dict[str, Any]) -> None:
    """Writes a file that holds tensors and can't hold code; its text is, under `name`, the facts as JSON.

    The same weights and facts make the same bytes.
    """
    # One entry, for safetensors writes several in any order; copies, for it refuses tensors that share memory.
    text = {name: json.dumps(facts)}
    copies = {key: tensor.detach().cpu().contiguous().clone() for key, tensor in weights.items()}
    with replacing(path) as draft:
        draft.write_bytes(as_safetensors(copies, metadata=text))


def read_safetensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors in a safetensors file, on the CPU, and its text.

    Raises:
        ValueError: when there is no such file, or it can't be read, is too large or damaged.
    """
    path = readable(path, MOST_BYTES)
    with path.open("rb") as start:
        text_size = int.from_bytes(start.read(8), "little")
    if text_size > MOST_TEXT:
        raise ValueError(f"{path} is damaged or isn't a safetensors file")
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise ValueError(f"{path} is damaged or isn't a safetensors file") from error
