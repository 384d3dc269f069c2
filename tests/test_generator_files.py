"""What each script that takes a generator file says of one that isn't, and of a place it can't write to."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from common.files import write_safetensors
from networks.dcgan import DCGANGenerator
from networks.generator_files import read_metadata, save_generator
from networks.mlp_gan import MLPDiscriminator, MLPGenerator
from scripts import export, interpolate, sample
from scripts.generator_files import open_generator
from twofold.errors import UsageError

Script = Callable[..., tuple[int, str, str]]
Refuses = Callable[..., None]

REFUSED = {
    "nowhere.pth": "nowhere.pth is not a file; write a generator file, such as runs/gan/RUN/mnist_generator.pth",
    "nowhere.safetensors": "nowhere.safetensors is not a file",
    "text.pth": "text.pth is damaged or wasn't written by torch.save",
    "torn.pth": "torn.pth is damaged or wasn't written by torch.save",
    "torn.safetensors": "torn.safetensors is damaged or isn't a safetensors file",
    "pth.safetensors": "pth.safetensors is damaged or isn't a safetensors file",
    "alone.pth": "alone.json is missing; it says which network the weights in alone.pth belong to",
    "alone.safetensors": "alone.json is missing; it says which network the weights in alone.safetensors belong to",
    "last.ckpt": "last.ckpt is a checkpoint; write the generator file, the run's mnist_generator.pth",
    "dcgan.pth": "the weights in dcgan.pth don't fit a MLPGenerator",
    "dcgan.safetensors": "the weights in dcgan.safetensors don't fit a MLPGenerator",
    "other.pth": "the file names 'TheirGenerator', which the table of names doesn't hold; scripts read what",
    "discriminator.pth": "discriminator.pth holds a MLPDiscriminator, which is no generator",
    "ageless.pth": "what is said of ageless.pth doesn't tell its step and data_source",
    "truthful.pth": "what is said of truthful.pth doesn't tell its step and data_source",
    "talkative.pth": "what is said of talkative.pth doesn't tell its step and data_source",
    "failed.pth": "failed.pth holds weights that are no finite numbers; its training has failed",
}


@pytest.fixture
def bad_files(painter_file: Path, digit_painter: MLPGenerator) -> None:
    """All the files of `REFUSED` that there are."""
    folder, weights, facts = painter_file.parent, digit_painter.state_dict(), read_metadata(painter_file)
    save_generator(digit_painter, folder / "good.pth", weights="raw", step=1, data_source="packaged")
    write_safetensors(weights, folder / "good.safetensors", "generator", facts)
    (folder / "text.pth").write_text("a digit")
    for kind in ("pth", "safetensors"):
        whole = (folder / f"good.{kind}").read_bytes()
        (folder / f"torn.{kind}").write_bytes(whole[: len(whole) // 2])
    (folder / "pth.safetensors").write_bytes(painter_file.read_bytes())
    torch.save(weights, folder / "alone.pth")
    save_file(weights, folder / "alone.safetensors")
    torch.save({"pytorch-lightning_version": "2.6.6", "state_dict": weights}, folder / "last.ckpt")
    torch.save(DCGANGenerator(2, channels=1).state_dict(), folder / "dcgan.pth")
    write_safetensors(DCGANGenerator(2, channels=1).state_dict(), folder / "dcgan.safetensors", "generator", facts)
    torch.save(weights, folder / "other.pth")
    other = {"name": "TheirGenerator", "arguments": {}}
    save_generator(MLPDiscriminator(), folder / "discriminator.pth", weights="raw", step=1, data_source="packaged")
    for name in ("ageless", "truthful", "talkative"):
        torch.save(weights, folder / f"{name}.pth")
    torch.save({name: weight * float("nan") for name, weight in weights.items()}, folder / "failed.pth")
    for name, content in (
        ("dcgan", facts),
        ("other", {**facts, "network": other}),
        ("ageless", {"network": facts["network"], "step": "late", "data_source": "packaged"}),
        ("truthful", {**facts, "step": True}),
        ("talkative", {**facts, "data_source": "digits " * 100}),
        ("failed", facts),
    ):
        (folder / f"{name}.json").write_text(json.dumps(content))


@pytest.mark.usefixtures("bad_files")
@pytest.mark.parametrize("module", [interpolate, sample, export], ids=lambda module: module.__name__)
def test_a_file_that_is_no_generators_gets_one_line_and_leaves_nothing(refuses: Refuses, module: object) -> None:
    main, options = {
        interpolate: (interpolate.main, "--seeds 1 2 --out new.png"),
        sample: (sample.main, "--out new"),
        export: (export.main, "--safetensors new.safetensors --onnx new.onnx"),
    }[module]  # type: ignore[index]
    refuses(main, [(f"{file} {options}", told) for file, told in REFUSED.items()])


def test_a_generator_is_opened_with_its_facts(painter_file: Path, digit_painter: MLPGenerator) -> None:
    trained = open_generator(painter_file)
    z = torch.randn(3, 2)
    assert torch.equal(trained.network(z), digit_painter(z))
    assert not trained.network.training
    assert trained.facts["step"] == 1500
    assert trained.origin == "after 1,500 batches of the packaged digits"


def test_debugging_shows_the_traceback(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWOFOLD_DEBUG", "1")
    with pytest.raises(UsageError, match="is not a file"):
        script(sample.main, "nowhere.pth", "--out", "new.png")
