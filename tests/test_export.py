"""`scripts.export`: the exported files hold the same network, and ONNX that computes something else isn't written."""

import json
from collections.abc import Callable
from pathlib import Path

import onnxruntime
import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn

from networks import register
from networks.dcgan import DCGANGenerator
from networks.generator_files import load_generator, read_metadata, save_generator
from networks.mlp_gan import MLPGenerator
from scripts.export import main

Script = Callable[..., tuple[int, str, str]]
Refuses = Callable[..., None]


class Noisy(nn.Module):
    """Adds noise of its own, so that no export can make the same images."""

    def __init__(self) -> None:
        super().__init__()
        self.latent_dim = 3
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, z: Tensor) -> Tensor:
        pixels = self.weight * torch.randn_like(z[:, 0])
        return pixels[:, None, None, None].expand(-1, 1, 28, 28)


register("Noisy", Noisy)


def saved(network: nn.Module, tmp_path: Path) -> Path:
    """A generator file of this network, its running statistics as after some training."""
    if not isinstance(network, Noisy):
        for _ in range(5):
            network(torch.randn(16, network.latent_dim))  # type: ignore[call-overload]
    path = tmp_path / "mnist_generator.pth"
    save_generator(network, path, weights="ema", step=7, data_source="packaged")
    return path


@pytest.mark.parametrize(
    "network",
    [MLPGenerator(5), MLPGenerator(5, [32, 16], normalisation="layer"), DCGANGenerator(5, channels=4)],
    ids=["MLP with BatchNorm", "MLP with LayerNorm", "DCGAN"],
)
def test_onnx_makes_the_same_images_for_any_batch_size(script: Script, tmp_path: Path, network: nn.Module) -> None:
    path = saved(network, tmp_path)
    code, printed, error = script(main, path, "--onnx", "new/g.onnx")
    assert (code, error) == (0, "")
    assert printed.startswith("new/g.onnx\nno pixel differs from torch's by more than ")
    assert printed.endswith("in batches of 1, 2, 7, 64\n")
    session = onnxruntime.InferenceSession(tmp_path / "new/g.onnx", providers=["CPUExecutionProvider"])
    loaded = load_generator(path)
    for size in (1, 3, 100):
        z = torch.randn(size, 5)
        (images,) = session.run(None, {"z": z.numpy()})
        with torch.no_grad():
            torch.testing.assert_close(torch.from_numpy(images), loaded(z), atol=1e-5, rtol=0)
    assert [value.name for value in (*session.get_inputs(), *session.get_outputs())] == ["z", "images"]
    assert json.loads(session.get_modelmeta().custom_metadata_map["generator"]) == read_metadata(path)


def test_safetensors_hold_weights_and_metadata(script: Script, tmp_path: Path) -> None:
    network = MLPGenerator(5)
    path = saved(network, tmp_path)
    assert script(main, path, "--safetensors", "alone/g.safetensors") == (0, "alone/g.safetensors\n", "")
    out = tmp_path / "alone/g.safetensors"
    with safe_open(out, framework="pt") as file:
        assert set(file.keys()) == set(network.state_dict())
        assert json.loads(file.metadata()["generator"]) == read_metadata(path)
    z = torch.randn(3, 5)
    assert torch.equal(load_generator(out)(z), load_generator(path)(z))


def test_onnx_that_differs_is_not_written(script: Script, tmp_path: Path) -> None:
    path = saved(Noisy(), tmp_path)
    (tmp_path / "g.onnx").write_text("old")
    code, printed, error = script(main, path, "--onnx", "g.onnx")
    assert (code, printed) == (1, "")
    assert error.startswith("export: the run failed: ONNX and torch differ by up to")
    assert (tmp_path / "g.onnx").read_text() == "old"


MISTAKES = [
    ("", "nothing to write; add --onnx FILE.onnx or --safetensors FILE.safetensors"),
    ("--onnx g.pb", "--onnx: can't be g.pb; write a name that ends in .onnx"),
]


def test_mistakes_get_one_line(refuses: Refuses, painter_file: Path) -> None:
    refuses(main, [(f"{painter_file.name} {options}", message) for options, message in MISTAKES])
