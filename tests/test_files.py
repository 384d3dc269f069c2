"""Weights are written whole or not at all, and read without running what a file brings along."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn

from networks.files import load_generator, read_facts, read_tensors, replacing, save_generator
from networks.mlp_gan import MLPGenerator
from networks.table import describe


class RunsACommand:
    """Pickled into a file, it creates another when unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch '{self.marker}'",)


@pytest.fixture
def generator() -> MLPGenerator:
    generator = MLPGenerator(latent_dim=5)
    generator(torch.randn(8, 5))  # so that BatchNorm's running statistics aren't those of a new one
    return generator


@pytest.fixture
def saved(generator: MLPGenerator, tmp_path: Path) -> Path:
    path = tmp_path / "run" / "mnist_generator.pth"
    save_generator(generator, path, weights="ema", step=500, data_source="packaged")
    return path


def test_a_generator_comes_back_as_it_was(generator: MLPGenerator, saved: Path) -> None:
    loaded = load_generator(saved)
    assert isinstance(loaded, MLPGenerator)
    assert not loaded.training
    z = torch.randn(3, 5)
    assert torch.equal(loaded(z), generator.eval()(z))
    assert sorted(file.name for file in saved.parent.iterdir()) == ["mnist_generator.json", "mnist_generator.pth"]


def test_the_pth_is_exactly_the_state_dict(generator: MLPGenerator, saved: Path) -> None:
    weights, expected = torch.load(saved, weights_only=True), generator.state_dict()
    assert list(weights) == list(expected)
    torch.testing.assert_close(weights, dict(expected), rtol=0, atol=0)
    generator.load_state_dict(weights, strict=True)


def test_the_json_says_what_it_is(saved: Path, generator: MLPGenerator) -> None:
    assert read_facts(saved) == {
        "network": describe(generator),
        "weights": "ema",
        "step": 500,
        "data_source": "packaged",
    }


def test_a_generator_of_your_own_is_filled(saved: Path, generator: MLPGenerator) -> None:
    saved.with_suffix(".json").unlink()
    mine = MLPGenerator(latent_dim=5)
    assert load_generator(saved, mine) is mine
    torch.testing.assert_close(dict(mine.state_dict()), dict(generator.state_dict()), rtol=0, atol=0)


@pytest.mark.parametrize("force", ["0", "1"])
@pytest.mark.parametrize("legacy", [False, True])
def test_pickled_code_is_refused_and_does_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, force: str, legacy: bool
) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", force)
    path, marker = tmp_path / "generator.pth", tmp_path / "it-ran"
    torch.save({"weight": RunsACommand(marker)}, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(ValueError, match=r"generator\.pth holds more than tensors and plain values"):
        read_tensors(path)
    with pytest.raises(ValueError, match="holds more than tensors"):
        load_generator(path, MLPGenerator())
    assert not marker.exists()
    torch.load(path, weights_only=False)
    assert marker.exists()  # so the payload was a live one


def test_a_torn_write_leaves_the_old_file(tmp_path: Path) -> None:
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


def test_a_whole_write_replaces_it_and_makes_the_folder(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "weights.pth"
    for content in ("old", "new"):
        with replacing(path) as draft:
            draft.write_text(content)
        assert path.read_text() == content
    assert list(path.parent.iterdir()) == [path]


def test_a_missing_file_and_a_directory_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere.pth", tmp_path):
        with pytest.raises(ValueError, match=f"{path} is not a file"):
            load_generator(path)


def test_a_missing_json_is_refused(saved: Path) -> None:
    saved.with_suffix(".json").unlink()
    with pytest.raises(ValueError, match=r"mnist_generator\.json is missing; it says which network"):
        load_generator(saved)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"latent_dim: 5", "is not JSON"),
        (b"\xff\xfe\x00", "is not JSON"),
        (b"", "is not JSON"),
        (b"[1, 2]", "doesn't say which network"),
        (b'{"step": 500}', "doesn't say which network"),
        (b'{"network": "MLPGenerator"}', "doesn't describe its network"),
        (b'{"network": {"class_path": "antigravity.Module"}}', "doesn't describe its network"),
        (b'{"network": {"name": "Adam", "arguments": {}}}', "names 'Adam' where a Module belongs"),
    ],
)
def test_a_wrong_json_is_refused(saved: Path, content: bytes, words: str) -> None:
    saved.with_suffix(".json").write_bytes(content)
    with pytest.raises(ValueError, match=words):
        load_generator(saved)


@pytest.mark.parametrize(
    "weights",
    [
        nn.Linear(2, 2).state_dict(),
        MLPGenerator(latent_dim=6).state_dict(),
        {},
        {1: torch.zeros(1)},
        {"layers.0.weight": "text"},
        [torch.zeros(2)],
        torch.zeros(2),
        7,
    ],
    ids=["another network", "another size", "empty", "number as key", "text as weight", "list", "tensor", "number"],
)
def test_weights_that_do_not_fit_are_refused(saved: Path, weights: Any) -> None:
    torch.save(weights, saved)
    with pytest.raises(ValueError, match=r"mnist_generator\.pth don't fit a MLPGenerator"):
        load_generator(saved)


def test_a_file_cut_short_is_refused(saved: Path) -> None:
    whole = saved.read_bytes()
    for length in (0, 1, 100, len(whole) // 2, len(whole) - 1):
        saved.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"mnist_generator\.pth"):
            read_tensors(saved)


@example(b"J")
@given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda tail: b"\x80\x02" + tail))
@settings(max_examples=200, deadline=None)
def test_a_file_of_anything_is_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("anything") / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"weights\.pth"):
        read_tensors(path)


def test_json_is_readable_by_people(saved: Path) -> None:
    text = saved.with_suffix(".json").read_text()
    assert text == json.dumps(json.loads(text), indent=2) + "\n"
