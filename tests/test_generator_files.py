"""Generator files round-trip, and any other file is refused in one line, by the functions and by the scripts."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from common.files import write_safetensors
from networks.dcgan import DCGANGenerator
from networks.generator_files import load_generator, read_metadata, save_generator
from networks.mlp_gan import MLPDiscriminator, MLPGenerator
from networks.registry import to_spec
from scripts import export, interpolate, sample


@pytest.fixture
def generator() -> MLPGenerator:
    generator = MLPGenerator(latent_dim=5, widths=[4, 3])
    generator(torch.randn(8, 5))  # changes BatchNorm's running statistics
    return generator


@pytest.fixture
def saved(generator: MLPGenerator, tmp_path: Path) -> Path:
    path = tmp_path / "run" / "mnist_generator.pth"
    save_generator(generator, path, weights="ema", step=500, data_source="packaged")
    return path


@pytest.fixture
def exported(generator: MLPGenerator, saved: Path, tmp_path: Path) -> Path:
    path = tmp_path / "elsewhere" / "digits.safetensors"
    write_safetensors(generator.state_dict(), path, "generator", read_metadata(saved))
    return path


def test_saved_generator_loads_equal_in_eval_mode(saved: Path, exported: Path, generator: MLPGenerator) -> None:
    z, before = torch.randn(3, 5), torch.get_rng_state()
    for path in (saved, exported):
        loaded = load_generator(path)
        assert isinstance(loaded, MLPGenerator)
        assert not loaded.training
        assert torch.equal(loaded(z), generator.eval()(z))
    assert torch.equal(torch.get_rng_state(), before)  # no initial weights were drawn
    assert torch.load(saved, weights_only=True).keys() == generator.state_dict().keys()


def test_metadata_says_what_was_saved(saved: Path, exported: Path, generator: MLPGenerator) -> None:
    metadata = {"network": to_spec(generator), "weights": "ema", "step": 500, "data_source": "packaged"}
    assert read_metadata(saved) == read_metadata(exported) == metadata
    assert saved.with_suffix(".json").read_text() == json.dumps(metadata, indent=2) + "\n"


def test_weights_are_loaded_into_a_given_generator(saved: Path, generator: MLPGenerator) -> None:
    saved.with_suffix(".json").unlink()
    mine = MLPGenerator(latent_dim=5, widths=[4, 3])
    assert load_generator(saved, mine) is mine
    torch.testing.assert_close(dict(mine.state_dict()), dict(generator.state_dict()), rtol=0, atol=0)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("latent_dim: 5", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ('{"step": 500}', "doesn't say which network"),
        ('{"network": "MLPGenerator"}', "doesn't describe its network"),
        ('{"network": {"class_path": "antigravity.Module"}}', "doesn't describe its network"),
        ('{"network": {"name": "os.system", "arguments": {}}}', "names 'os.system', which isn't registered"),
    ],
    ids=lambda text: str(text)[:30],
)
def test_wrong_metadata_is_refused(
    generator: MLPGenerator, saved: Path, exported: Path, content: str, words: str
) -> None:
    saved.with_suffix(".json").write_text(content)
    save_file(generator.state_dict(), exported, metadata={"generator": content})
    for path in (saved, exported):
        with pytest.raises(ValueError, match=words):
            load_generator(path)


@pytest.mark.parametrize(
    "weights", [MLPGenerator(6).state_dict(), {}, {1: torch.zeros(1)}, {"layers.0.weight": "x"}, [7]]
)
def test_weights_that_do_not_fit_are_refused(saved: Path, weights: Any) -> None:
    torch.save(weights, saved)
    with pytest.raises(ValueError, match=r"mnist_generator\.pth don't fit a MLPGenerator"):
        load_generator(saved)


REFUSED = {
    "nowhere.pth": "nowhere.pth is not a file; write a generator file, such as runs/gan/RUN/mnist_generator.pth",
    "text.pth": "text.pth is damaged or holds more than tensors and plain values",
    "torn.safetensors": "torn.safetensors is damaged or isn't a safetensors file",
    "alone.pth": "alone.json is missing; it says which network the weights in alone.pth belong to",
    "last.ckpt": "last.ckpt is a checkpoint; write the generator file, the run's mnist_generator.pth",
    "dcgan.safetensors": "the weights in dcgan.safetensors don't fit a MLPGenerator",
    "other.pth": "the file names 'TheirGenerator', which isn't registered; see docs/add_a_network.md",
    "discriminator.pth": "discriminator.pth holds a MLPDiscriminator, which isn't a generator",
    "failed.pth": "failed.pth holds weights that aren't finite numbers; its training failed",
}


@pytest.mark.parametrize(
    ("main", "options"),
    [
        (interpolate.main, "--seeds 1 2 --out new.png"),
        (sample.main, "--out new"),
        (export.main, "--safetensors new.safetensors --onnx new.onnx"),
    ],
    ids=["interpolate", "sample", "export"],
)
def test_scripts_refuse_other_files_in_one_line(
    painter_file: Path, digit_painter: MLPGenerator, refuses: Callable[..., None], main: object, options: str
) -> None:
    folder, weights, metadata = painter_file.parent, digit_painter.state_dict(), read_metadata(painter_file)
    (folder / "text.pth").write_text("a digit")
    write_safetensors(DCGANGenerator(2, channels=1).state_dict(), folder / "dcgan.safetensors", "generator", metadata)
    (folder / "torn.safetensors").write_bytes((folder / "dcgan.safetensors").read_bytes()[:1000])
    torch.save(weights, folder / "alone.pth")
    torch.save({"pytorch-lightning_version": "2.6.6", "state_dict": weights}, folder / "last.ckpt")
    torch.save(weights, folder / "other.pth")
    other = {**metadata, "network": {"name": "TheirGenerator", "arguments": {}}}
    (folder / "other.json").write_text(json.dumps(other))
    save_generator(MLPDiscriminator(), folder / "discriminator.pth", weights="raw", step=1, data_source="packaged")
    torch.save({name: weight * float("nan") for name, weight in weights.items()}, folder / "failed.pth")
    (folder / "failed.json").write_text(json.dumps(metadata))
    refuses(main, [(f"{file} {options}", words) for file, words in REFUSED.items()])
