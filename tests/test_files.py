"""Writes are atomic; reads run no code, and refuse anything else in one line that names the file."""

import json
import os
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from common.files import read_safetensors, read_tensors, replacing, write_safetensors, write_tensors


class RunsACommand:
    """Unpickling it creates a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch '{self.marker}'",)


def test_replacing_creates_the_folder_and_replaces_the_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "weights.pth"
    for content in ("old", "new"):
        with replacing(path) as draft:
            draft.write_text(content)
        assert path.read_text() == content
    assert list(path.parent.iterdir()) == [path]


def test_interrupted_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    path.write_text("old")

    def interrupted() -> None:
        with replacing(path) as draft:
            draft.write_text("ne")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_failed_write_is_an_oserror_that_names_the_path(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    path.write_text("old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))  # fails like a full disk, inside torch.save
    try:
        with pytest.raises(OSError, match="File too large") as failure:
            write_tensors({"a": torch.zeros(10_000)}, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert failure.value.filename == str(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_tensors_and_plain_values_round_trip(tmp_path: Path) -> None:
    content = {"weights": {"a": torch.randn(2, 3)}, "step": 7, "names": ["x", None, 1.5]}
    write_tensors(content, tmp_path / "a.ckpt")
    read = read_tensors(tmp_path / "a.ckpt")
    assert torch.equal(read["weights"].pop("a"), content["weights"].pop("a"))  # type: ignore[attr-defined]
    assert read == content


@pytest.mark.parametrize("zipfile", [True, False])
@pytest.mark.parametrize("force", ["0", "1"])
def test_pickled_code_is_refused_and_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, force: str, zipfile: bool
) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", force)
    path, marker = tmp_path / "weights.pth", tmp_path / "it-ran"
    torch.save({"weight": RunsACommand(marker)}, path, _use_new_zipfile_serialization=zipfile)
    with pytest.raises(ValueError, match=r"weights\.pth .* holds more than tensors and plain values"):
        read_tensors(path)
    assert not marker.exists()
    torch.load(path, weights_only=False)
    assert marker.exists()  # the code in the file does run elsewhere


@pytest.mark.parametrize("read", [read_tensors, read_safetensors])
def test_missing_files_folders_and_urls_are_refused(tmp_path: Path, read: Callable[[Any], Any]) -> None:
    for path in (tmp_path / "nowhere.pth", tmp_path):
        with pytest.raises(ValueError, match=f"{path} is not a file"):
            read(path)
    for url in ("http://127.0.0.1:9/x.pth", "s3://bucket/x.ckpt"):
        with pytest.raises(ValueError, match=r"is a URL; download the file and write its path"):
            read(url)


def test_truncated_files_are_refused(tmp_path: Path) -> None:
    weights = {"a": torch.randn(30, 30)}
    write_tensors(weights, tmp_path / "whole.pth")
    write_safetensors(weights, tmp_path / "whole.safetensors", "generator", {})
    for ending, read in ((".pth", read_tensors), (".safetensors", read_safetensors)):
        whole, path = (tmp_path / f"whole{ending}").read_bytes(), tmp_path / f"cut{ending}"
        for length in (0, 1, 7, 100, len(whole) // 2, len(whole) - 1):
            path.write_bytes(whole[:length])
            with pytest.raises(ValueError, match=rf"cut{ending} is damaged"):
                read(path)


@example(b"J", b"")
@given(st.binary(max_size=200), st.sampled_from([b"", b"\x80\x02", b"\x10\0\0\0\0\0\0\0"]))
@settings(max_examples=100, deadline=None)
def test_arbitrary_bytes_are_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes, start: bytes) -> None:
    path = tmp_path_factory.mktemp("anything") / "weights.pth"
    path.write_bytes(start + content)
    for read in (read_tensors, read_safetensors):
        with pytest.raises(ValueError, match=r"weights\.pth is damaged"):
            read(path)


def test_safetensors_keep_shared_and_transposed_weights(tmp_path: Path) -> None:
    matrix = torch.randn(3, 2)
    weights = {"a": matrix, "b": matrix, "c": matrix.T}
    for name in ("one", "two"):
        write_safetensors(weights, tmp_path / name, "facts", {"any": [1, None, "ä"]})
    tensors, metadata = read_safetensors(tmp_path / "one")
    assert {name: tensor.tolist() for name, tensor in tensors.items()} == {k: v.tolist() for k, v in weights.items()}
    assert json.loads(metadata["facts"]) == {"any": [1, None, "ä"]}
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
