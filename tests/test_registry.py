"""Specs of networks, optimizers and schedulers build them again; only registered names are built."""

import json
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

import networks
from networks import registry
from networks.classifiers import DigitCNN, DigitReader
from networks.dcgan import DCGANDiscriminator, DCGANGenerator
from networks.mlp_conv_gan import MLPConvGenerator, PixelUnshuffleDiscriminator
from networks.mlp_gan import MLPDiscriminator, MLPGenerator


class Mine(nn.Module):
    def __init__(self, width: int, sizes: Sequence[int] = (), activation: Any = None) -> None:
        super().__init__()
        self.width, self.sizes, self.activation = width, sizes, activation


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_classes", dict(registry._classes))


def through_json(spec: registry.Spec) -> registry.Spec:
    read: registry.Spec = json.loads(json.dumps(spec))
    return read


@pytest.mark.parametrize(
    "network",
    [
        MLPGenerator(7, [3], "layer"),
        MLPDiscriminator([4], "spectral"),
        DCGANGenerator(3, 2, "none"),
        DCGANDiscriminator(2, "spectral"),
        MLPConvGenerator(3, [4], 2, "none"),
        PixelUnshuffleDiscriminator(2, 3),
        DigitCNN(),
        DigitReader(5),
    ],
    ids=lambda network: type(network).__name__,
)
def test_networks_are_rebuilt_from_their_specs(network: nn.Module) -> None:
    spec = through_json(registry.to_spec(network))
    assert spec["name"] == type(network).__name__
    rebuilt = registry.from_spec(spec, nn.Module)
    assert str(rebuilt) == str(network)
    assert registry.to_spec(rebuilt) == spec


def test_registered_classes_are_rebuilt() -> None:
    networks.register("Twice", Mine)
    networks.register("Twice", Mine)  # the same class again is no error
    spec = through_json(registry.to_spec(Mine(3, sizes=(1, 2))))
    assert spec == {"name": "Twice", "arguments": {"width": 3, "sizes": [1, 2], "activation": None}}
    assert isinstance(registry.from_spec(spec, nn.Module), Mine)
    with pytest.raises(ValueError, match="the name 'DigitCNN' already means DigitCNN; register another name"):
        networks.register("DigitCNN", Mine)


@pytest.mark.parametrize(
    ("factory", "kind", "name", "arguments"),
    [
        (partial(torch.optim.Adam, lr=0.01, betas=(0.5, 0.9)), Optimizer, "Adam", {"lr": 0.01, "betas": [0.5, 0.9]}),
        (torch.optim.Adam, Optimizer, "Adam", {}),
        (partial(torch.optim.lr_scheduler.StepLR, step_size=3), LRScheduler, "StepLR", {"step_size": 3}),
    ],
)
def test_factories_are_rebuilt_from_their_specs(
    factory: Callable[..., Any], kind: type[object], name: str, arguments: dict[str, Any]
) -> None:
    spec = through_json(registry.to_plain(factory))
    assert spec == {"name": name, "arguments": arguments}
    assert registry.to_plain(registry.from_spec(spec, kind)) == spec


def test_unregistered_names_are_refused_with_advice() -> None:
    with pytest.raises(
        registry.NotRegisteredError, match=r"'Mine', which isn't registered; see docs/add_a_network\.md"
    ):
        registry.from_spec(through_json(registry.to_spec(Mine(1))), nn.Module)
    networks.register("Mine", Mine)
    spec = through_json(registry.to_spec(Mine(1, activation=torch.device("cpu"))))
    assert spec["arguments"]["activation"] == {"name": "device", "arguments": None}
    with pytest.raises(registry.NotRegisteredError, match="can't hold the arguments of 'Mine'; pass the object itself"):
        registry.from_spec(spec, nn.Module)


@pytest.mark.parametrize("name", ["Optimizer", "LRScheduler", "_LRScheduler", "Module", "partial", "torch.optim.Adam"])
def test_base_classes_and_private_names_are_not_registered(name: str) -> None:
    with pytest.raises(registry.NotRegisteredError):
        registry.from_spec({"name": name, "arguments": {}}, object)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"class_path": "antigravity.Module", "init_args": {}}, "doesn't describe its network"),
        ({"name": "antigravity.Module", "arguments": {}}, "isn't registered"),
        ({"name": {"class_path": "antigravity.Module"}, "arguments": {}}, "doesn't describe"),
        ({"name": "MLPGenerator", "arguments": {"latent_dim": {"class_path": "antigravity.Module"}}}, "can't be built"),
        ({"name": "MLPGenerator", "arguments": {"latent_dim": [[{"a": "antigravity"}]]}}, "can't be built"),
        ({"name": "MLPGenerator"}, "doesn't describe"),
        ("antigravity.Module", "doesn't describe"),
        (None, "doesn't describe"),
        ({"name": "MLPGenerator", "arguments": {"depth": 3}}, "MLPGenerator can't be built from"),
        ({"name": "MLPGenerator", "arguments": {"latent_dim": "100"}}, "MLPGenerator can't be built from"),
        ({"name": "Adam", "arguments": {}}, "the file names 'Adam' where a Module belongs"),
    ],
)
def test_malformed_specs_are_refused_and_import_nothing(spec: Any, words: str) -> None:
    before = set(sys.modules)
    with pytest.raises(ValueError, match=words):
        registry.from_spec(spec, nn.Module)
    assert set(sys.modules) == before
