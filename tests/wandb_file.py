"""Reads what an offline Weights & Biases run holds. Not a test.

The file is a header of 7 bytes and then a LevelDB log (https://github.com/google/leveldb/blob/main/doc/log_format.md):
blocks of 32 KiB, in them fragments of a checksum, a length and a type before their payload. A record, whole in one
fragment or in several, is one of W&B's protobuf messages.
"""

import json
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2 as messages

HEADER, BLOCK, FRAGMENT = 7, 2**15, 7
FULL, LAST = 1, 4


@dataclass
class WandbFile:
    """What a run logged, and where its files are."""

    folder: Path
    id: str = ""
    group: str = ""
    tags: list[str] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    """Of the history, values by their keys; what has parts, such as a picture, is a dict."""
    definitions: dict[str, Any] = field(default_factory=dict)
    """By metric, what was defined of it."""
    artifacts: dict[str, dict[str, Path]] = field(default_factory=dict)
    """By name, the copy that waits for its upload of each of their files."""
    metadata: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Of the artifacts."""

    def points(self, key: str) -> list[tuple[int, Any]]:
        """A series over the axis of batches."""
        return [(row["trainer/global_step"], row[key]) for row in self.rows if key in row]


def read_wandb(path: Path) -> WandbFile:
    """What a `.wandb` file holds; a torn end, as a kill leaves it, is passed over."""
    run = WandbFile(path.parent / "files")
    for payload in _payloads(path.read_bytes()):
        record = messages.Record.FromString(payload)  # type: ignore[attr-defined]  # made at run time
        match record.WhichOneof("record_type"):
            case "run":
                run.id, run.group, run.tags = record.run.run_id, record.run.run_group, list(record.run.tags)
                _update(run.config, record.run.config.update)
            case "config":
                _update(run.config, record.config.update)
            case "summary":
                _update(run.summary, record.summary.update)
            case "history":
                run.rows.append({})
                _update(run.rows[-1], record.history.item)
            case "metric":
                run.definitions[record.metric.name or record.metric.glob_name] = record.metric
            case "artifact":
                name = record.artifact.name
                run.artifacts[name] = {
                    entry.path: Path(entry.local_path) for entry in record.artifact.manifest.contents
                }
                run.metadata[name] = json.loads(record.artifact.metadata or "{}")
    return run


def _payloads(content: bytes) -> Iterator[bytes]:
    assert content[:4] == b":W&B"
    at, parts = HEADER, b""
    while at + FRAGMENT <= len(content):
        if (rest := BLOCK - at % BLOCK) < FRAGMENT:  # filled with zeros
            at += rest
            continue
        length, kind = struct.unpack_from("<HB", content, at + 4)
        at += FRAGMENT + length
        if at > len(content):
            return
        parts += content[at - length : at]
        if kind in (FULL, LAST):
            yield parts
            parts = b""


def _update(values: dict[str, Any], items: Iterable[Any]) -> None:
    for item in items:
        *path, key = item.nested_key or [item.key]
        inner = values
        for name in path:
            inner = inner.setdefault(name, {})
        inner[key] = json.loads(item.value_json)
