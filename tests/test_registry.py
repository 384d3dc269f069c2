"""The table of names: what is described can be built again, and nothing else is."""

import json
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest
import torch
from jsonargparse import ArgumentParser
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, StepLR

import networks
from networks import registry
from networks.classifiers import DigitCNN
from networks.mlp_gan import MLPDiscriminator, MLPGenerator


class Doubler(nn.Module):
    def __init__(self, width: int, sizes: Sequence[int] = (), activation: Any = None) -> None:
        super().__init__()
        self.width, self.sizes, self.activation = width, sizes, activation


@pytest.fixture(autouse=True)
def _own_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_classes", dict(registry._classes))


def through_a_file(description: registry.Spec) -> registry.Spec:
    read: registry.Spec = json.loads(json.dumps(description))
    return read


@pytest.mark.parametrize("network", [MLPGenerator(), MLPGenerator(latent_dim=7), MLPDiscriminator(), DigitCNN()])
def test_a_network_of_ours_is_built_again(network: nn.Module) -> None:
    description = through_a_file(registry.to_spec(network))
    assert description["name"] == type(network).__name__
    assert str(registry.from_spec(description, nn.Module)) == str(network)


def test_a_registered_network_is_built_again() -> None:
    networks.register("Twice", Doubler)
    networks.register("Twice", Doubler)  # once more does no harm
    description = through_a_file(registry.to_spec(Doubler(3, sizes=(1, 2))))
    assert description == {"name": "Twice", "arguments": {"width": 3, "sizes": [1, 2], "activation": None}}
    built = registry.from_spec(description, nn.Module)
    assert isinstance(built, Doubler)
    assert built.width == 3
    assert built.sizes == [1, 2]


def test_a_name_means_one_class() -> None:
    with pytest.raises(ValueError, match="the name 'DigitCNN' already means DigitCNN; register another name"):
        networks.register("DigitCNN", Doubler)


def from_the_cli(kind: type, value: dict[str, Any]) -> Callable[..., Any]:
    """What jsonargparse, and so the Lightning CLI, makes of an optimizer or scheduler in a YAML."""
    parser = ArgumentParser()
    parser.add_argument("--factory", type=Callable[[Any], kind])
    factory: Callable[..., Any] = parser.instantiate(parser.parse_object({"factory": value})).factory
    return factory


@pytest.mark.parametrize(
    ("factory", "kind", "name", "arguments"),
    [
        (partial(torch.optim.Adam, lr=0.01, betas=(0.5, 0.9)), Optimizer, "Adam", {"lr": 0.01, "betas": [0.5, 0.9]}),
        (torch.optim.Adam, Optimizer, "Adam", {}),
        (partial(torch.optim.lr_scheduler.StepLR, step_size=3), LRScheduler, "StepLR", {"step_size": 3}),
    ],
)
def test_an_optimizer_or_scheduler_is_built_again(
    factory: Callable[..., Any], kind: type[object], name: str, arguments: dict[str, Any]
) -> None:
    description = through_a_file(registry.factory_to_spec(factory))
    assert description == {"name": name, "arguments": arguments}
    rebuilt = registry.factory_from_spec(description, kind)
    assert registry.factory_to_spec(rebuilt) == description


def test_an_optimizer_and_a_scheduler_from_the_cli_are_built_again() -> None:
    weights = [nn.Parameter(torch.zeros(1))]
    adam = from_the_cli(Optimizer, {"class_path": "torch.optim.Adam", "init_args": {"lr": 0.25, "betas": [0.5, 0.9]}})
    description = through_a_file(registry.factory_to_spec(adam))
    assert description["name"] == "Adam"
    optimizer = registry.factory_from_spec(description, Optimizer)(weights)
    assert optimizer.defaults == adam(weights).defaults
    assert (optimizer.defaults["lr"], list(optimizer.defaults["betas"])) == (0.25, [0.5, 0.9])

    step = from_the_cli(
        LRScheduler, {"class_path": "torch.optim.lr_scheduler.StepLR", "init_args": {"step_size": 3, "gamma": 0.5}}
    )
    description = through_a_file(registry.factory_to_spec(step))
    scheduler = registry.factory_from_spec(description, LRScheduler)(optimizer)
    assert isinstance(scheduler, StepLR)
    assert (scheduler.step_size, scheduler.gamma) == (3, 0.5)


def test_an_unknown_name_is_refused_with_what_to_do() -> None:
    description = through_a_file(registry.to_spec(Doubler(1)))
    with pytest.raises(
        registry.NotRegisteredError, match=r"networks\.register\('Doubler', YourClass\) .* or pass the object"
    ):
        registry.from_spec(description, nn.Module)


def test_arguments_that_a_file_cannot_hold_are_refused_with_what_to_do() -> None:
    networks.register("Doubler", Doubler)
    description = through_a_file(registry.to_spec(Doubler(1, activation=nn.ReLU())))
    assert description["arguments"] is None
    with pytest.raises(
        registry.NotRegisteredError, match="can't hold the arguments of 'Doubler'; pass the object itself"
    ):
        registry.from_spec(description, nn.Module)


@pytest.mark.parametrize(("name", "kind"), [("Adam", nn.Module), ("DigitCNN", Optimizer), ("StepLR", Optimizer)])
def test_the_wrong_kind_is_refused(name: str, kind: type) -> None:
    with pytest.raises(ValueError, match=f"the file names '{name}' where a {kind.__name__} belongs"):
        registry.from_spec({"name": name, "arguments": {}}, kind)


@pytest.mark.parametrize(
    "private", ["Optimizer", "LRScheduler", "_LRScheduler", "Module", "partial", "torch.optim.Adam"]
)
def test_the_table_holds_nothing_but_what_is_meant(private: str) -> None:
    with pytest.raises(registry.NotRegisteredError):
        registry.factory_from_spec({"name": private, "arguments": {}}, object)


def test_an_argument_of_another_version_is_refused() -> None:
    with pytest.raises(ValueError, match=r"MLPGenerator has no argument 'depth'; .* another version"):
        registry.from_spec({"name": "MLPGenerator", "arguments": {"depth": 3}}, nn.Module)


HOSTILE = [
    {"class_path": "antigravity.Module", "init_args": {}},
    {"class_path": "antigravity.Module", "name": "MLPGenerator", "arguments": {}},
    {"name": "antigravity.Module", "arguments": {}},
    {"name": {"class_path": "antigravity.Module"}, "arguments": {}},
    {"name": "MLPGenerator", "arguments": {"latent_dim": {"class_path": "antigravity.Module"}}},
    {"name": "MLPGenerator", "arguments": {"latent_dim": [[{"class_path": "antigravity.Module"}]]}},
    {"name": "MLPGenerator", "arguments": ["antigravity"]},
    {"name": "MLPGenerator"},
    {"name": "MLPGenerator", "arguments": {"latent_dim": nn.Linear}},
    "antigravity.Module",
    ["MLPGenerator", {}],
    None,
]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("description", HOSTILE)
def test_a_hostile_description_is_refused_and_imports_nothing(description: Any) -> None:
    before = set(sys.modules)
    with pytest.raises(ValueError, match="file"):
        registry.from_spec(description, nn.Module)
    assert set(sys.modules) == before


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("latent_dim", ["100", [100], None])
def test_arguments_of_another_type_are_refused(latent_dim: Any) -> None:
    with pytest.raises(ValueError, match="MLPGenerator"):
        registry.from_spec({"name": "MLPGenerator", "arguments": {"latent_dim": latent_dim}}, nn.Module)
