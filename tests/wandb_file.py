"""Reads the file of an offline Weights & Biases run. Not a test.

The file is a header of 7 bytes, then a LevelDB log (https://github.com/google/leveldb/blob/main/doc/log_format.md):
blocks of 32 KiB with fragments; each fragment has a checksum, a length, a type and a payload. The payload of one or
several fragments is one of W&B's protobuf messages.
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
    """What a run logged.

    Attributes:
        folder: the files that the run would upload.
        rows: the history; each row maps keys to values, or to a dict for a picture or table.
        definitions: by metric, the message that defines its axis and summary.
        artifacts: by artifact, the local copy of each of its files.
        metadata: by artifact, its metadata.
    """

    folder: Path
    id: str = ""
    project: str = ""
    name: str = ""
    group: str = ""
    tags: list[str] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    definitions: dict[str, Any] = field(default_factory=dict)
    artifacts: dict[str, dict[str, Path]] = field(default_factory=dict)
    metadata: dict[str, dict[str, Any]] = field(default_factory=dict)

    def points(self, key: str) -> list[tuple[int, Any]]:
        """A series over the axis of batches."""
        return [(row["trainer/global_step"], row[key]) for row in self.rows if key in row]


def read_wandb(path: Path) -> WandbFile:
    """Reads a `.wandb` file; an incomplete record at the end, after a kill, is skipped."""
    run = WandbFile(path.parent / "files")
    for payload in _payloads(path.read_bytes()):
        record = messages.Record.FromString(payload)  # type: ignore[attr-defined]  # made at run time
        match record.WhichOneof("record_type"):
            case "run":
                run.id, run.group, run.tags = record.run.run_id, record.run.run_group, list(record.run.tags)
                run.project, run.name = record.run.project, record.run.display_name
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
    payload, place = b"", HEADER
    for start in range(0, len(content), BLOCK):
        block = content[start : start + BLOCK]
        while place + FRAGMENT <= len(block):
            length, kind = struct.unpack_from("<HB", block, place + 4)
            place += FRAGMENT + length
            payload += block[place - length : place]
            if kind in (FULL, LAST) and place <= len(block):
                yield payload
                payload = b""
        place = 0


def _update(values: dict[str, Any], items: Iterable[Any]) -> None:
    for item in items:
        *path, key = item.nested_key or [item.key]
        inner = values
        for name in path:
            inner = inner.setdefault(name, {})
        inner[key] = json.loads(item.value_json)
