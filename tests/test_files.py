"""Weights are written whole or not at all, and read without running what a file brings along."""

import json
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from common.files import read_safetensors, read_tensors, replacing, write_safetensors, write_tensors
from networks.generator_files import load_generator, read_metadata, save_generator
from networks.mlp_gan import MLPDiscriminator, MLPGenerator
from networks.registry import to_spec


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
    assert read_metadata(saved) == {
        "network": to_spec(generator),
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
    told = "is damaged or wasn't written by torch.save" if legacy else "holds more than tensors and plain values"
    with pytest.raises(ValueError, match=rf"generator\.pth {told}"):
        read_tensors(path)
    with pytest.raises(ValueError, match=told):
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


def test_a_file_that_lies_about_its_size_costs_no_memory(saved: Path) -> None:
    facts = json.loads(saved.with_suffix(".json").read_text())
    facts["network"]["arguments"]["latent_dim"] = 10**9
    saved.with_suffix(".json").write_text(json.dumps(facts))
    with pytest.raises(ValueError, match=r"the weights in .* don't fit a MLPGenerator"):
        load_generator(saved)


def test_loading_draws_no_random_numbers(saved: Path) -> None:
    before = torch.get_rng_state()
    load_generator(saved)
    assert torch.equal(torch.get_rng_state(), before)


def test_json_is_readable_by_people(saved: Path) -> None:
    text = saved.with_suffix(".json").read_text()
    assert text == json.dumps(json.loads(text), indent=2) + "\n"


@pytest.fixture
def safe(generator: MLPGenerator, saved: Path, tmp_path: Path) -> Path:
    """The generator as safetensors, alone in its folder."""
    path = tmp_path / "elsewhere" / "digits.safetensors"
    write_safetensors(generator.state_dict(), path, "generator", read_metadata(saved))
    return path


def test_safetensors_are_read_like_the_pth(safe: Path, saved: Path) -> None:
    assert read_metadata(safe) == read_metadata(saved)
    loaded, z = load_generator(safe), torch.randn(3, 5)
    assert not loaded.training
    assert torch.equal(loaded(z), load_generator(saved)(z))
    assert list(safe.parent.iterdir()) == [safe]


def test_facts_come_from_the_file_itself_and_else_from_the_json_beside_it(
    generator: MLPGenerator, safe: Path, saved: Path
) -> None:
    beside = safe.with_suffix(".json")
    beside.write_text('{"network": "another"}')
    assert read_metadata(safe) == read_metadata(saved)
    write_safetensors(generator.state_dict(), safe, "something else", {})
    beside.write_text(saved.with_suffix(".json").read_text())
    assert read_metadata(safe) == read_metadata(saved)
    load_generator(safe)
    beside.unlink()
    with pytest.raises(ValueError, match=r"digits\.json is missing; it says which network"):
        load_generator(safe)


def test_the_same_weights_and_facts_make_the_same_safetensors(generator: MLPGenerator, safe: Path, saved: Path) -> None:
    before = safe.read_bytes()
    write_safetensors(generator.state_dict(), safe, "generator", read_metadata(saved))
    assert safe.read_bytes() == before


def test_weights_that_are_shared_or_transposed_are_written_too(tmp_path: Path) -> None:
    matrix = torch.randn(3, 2)
    weights = {"a": matrix, "b": matrix, "c": matrix.T}
    write_safetensors(weights, tmp_path / "tied.safetensors", "facts", {"any": [1, None, "ä"]})
    tensors, text = read_safetensors(tmp_path / "tied.safetensors")
    assert {name: tensor.tolist() for name, tensor in tensors.items()} == {k: v.tolist() for k, v in weights.items()}
    assert json.loads(text["facts"]) == {"any": [1, None, "ä"]}


def test_damaged_safetensors_are_refused(safe: Path) -> None:
    whole = safe.read_bytes()
    for content in (*(whole[:length] for length in (0, 1, 7, 100, len(whole) // 2, len(whole) - 1)), whole + b"more"):
        safe.write_bytes(content)
        for read in (read_safetensors, load_generator, read_metadata):
            with pytest.raises(ValueError, match=r"digits\.safetensors is damaged or isn't a safetensors file"):
                read(safe)


@given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda tail: len(tail).to_bytes(8, "little") + tail))
@settings(max_examples=200, deadline=None)
def test_safetensors_of_anything_are_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("anything") / "weights.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"weights\.safetensors"):
        read_safetensors(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("latent_dim: 5", r"the text in .*digits\.safetensors is not JSON"),
        ("[" * 100_000, r"the text in .*digits\.safetensors is not JSON"),
        ("[1]", r"the text in .*digits\.safetensors doesn't say which network"),
        ('{"network": {"class_path": "antigravity.Module"}}', "doesn't describe its network"),
    ],
)
def test_a_wrong_text_in_safetensors_is_refused(safe: Path, text: str, words: str) -> None:
    save_file(read_safetensors(safe)[0], safe, metadata={"generator": text})
    with pytest.raises(ValueError, match=words):
        load_generator(safe)


def test_a_checkpoint_and_a_network_that_is_no_generator_are_refused(saved: Path) -> None:
    torch.save({"pytorch-lightning_version": "2.6.6", "state_dict": {}}, saved)
    with pytest.raises(ValueError, match=r"mnist_generator\.pth is a checkpoint; write the generator file"):
        load_generator(saved)
    save_generator(MLPDiscriminator(), saved, weights="raw", step=1, data_source="packaged")
    with pytest.raises(ValueError, match="holds a MLPDiscriminator, which is no generator: it has no latent_dim"):
        load_generator(saved)


def test_a_disk_that_refuses_is_named_and_leaves_the_old_file(
    saved: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = saved.read_bytes()
    with resource_limit(1000), pytest.raises(OSError, match="File too large") as refused:
        write_tensors({"a": torch.zeros(10_000)}, saved)
    assert refused.value.filename == str(saved)
    assert saved.read_bytes() == before
    assert not list(tmp_path.glob(".*.part"))


@contextmanager
def resource_limit(size: int) -> Iterator[None]:
    """Within, no file of this process grows beyond so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
