"""The registry of names that a checkpoint or a generator's `.json` file may ask to be built.

A file from elsewhere must not choose what is imported. So files hold a registered name and plain arguments,

    {"name": "MLPGenerator", "arguments": {"latent_dim": 100}}

and only registered names are built. Add your own class by `networks.register("MyGenerator", MyGenerator)`.
"""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import torch
from torch import nn
from torch.optim import Optimizer, lr_scheduler
from torch.optim.lr_scheduler import LRScheduler

from networks.classifiers import DigitCNN, DigitReader
from networks.dcgan import DCGANDiscriminator, DCGANGenerator
from networks.mlp_conv_gan import MLPConvGenerator, PixelUnshuffleDiscriminator
from networks.mlp_gan import MLPDiscriminator, MLPGenerator

Kind = TypeVar("Kind")

Spec = dict[str, Any]
"""`{"name": str, "arguments": {str: plain value} | None}`. A plain value is a number, a string, None, or a list of
them."""


_classes: dict[str, type] = {}


class NotRegisteredError(ValueError):
    """A file names a class that isn't registered, or lacks arguments that only its author can pass."""


def register(name: str, cls: type) -> None:
    """Lets files refer to `cls` by `name`.

    A network must keep each constructor argument as an attribute of the same name; `to_spec` reads it there.

    Raises:
        ValueError: when the name is registered for another class.
    """
    if _classes.setdefault(name, cls) is not cls:
        raise ValueError(f"the name '{name}' already means {_classes[name].__qualname__}; register another name")


def to_spec(network: nn.Module) -> Spec:
    """Returns the name and constructor arguments of a network, without its weights."""
    parameters = inspect.signature(type(network)).parameters
    return _spec(type(network), {name: getattr(network, name, inspect.Parameter.empty) for name in parameters})


def factory_to_spec(factory: Callable[..., Any]) -> Spec:
    """Returns the spec of an optimizer or scheduler class, or of a `partial` of one, which the CLI passes."""
    if not isinstance(factory, partial):
        return _spec(factory, {})
    # jsonargparse's partial calls a function of its own and has the class among the positional arguments.
    classes = [value for value in (factory.func, *factory.args) if isinstance(value, type)]
    return _spec(classes[0] if classes else factory.func, factory.keywords)


def from_spec(spec: Spec, kind: type[Kind]) -> Kind:
    """Builds the object of a spec.

    Raises:
        NotRegisteredError: when the name isn't registered, or the file lacks the arguments.
        ValueError: when the spec is malformed, or names something that isn't a `kind`.
    """
    factory = factory_from_spec(spec, kind)
    try:
        return factory()
    except TypeError as error:
        raise ValueError(f"{spec['name']} can't be built from {spec['arguments']}") from error


def factory_from_spec(spec: Spec, kind: type[Kind]) -> Callable[..., Kind]:
    """Returns a `partial` of the class in a spec, to be called with what is missing (parameters, an optimizer).

    Raises:
        ValueError: as `from_spec` does.
    """
    match spec:
        case {"name": str(name), "arguments": None}:
            raise NotRegisteredError(f"the file can't hold the arguments of '{name}'; pass the object itself")
        case {"name": str(name), "arguments": dict(arguments)}:
            pass
        case _:
            raise ValueError("the file doesn't describe its network by a registered name and arguments")
    if name not in _classes:
        raise NotRegisteredError(f"the file names '{name}', which isn't registered; see docs/add_a_network.md")
    cls = _classes[name]
    if not issubclass(cls, kind):
        raise ValueError(f"the file names '{name}' where a {kind.__name__} belongs")
    return partial(cls, **arguments)


def _spec(cls: Callable[..., Any], arguments: dict[str, Any]) -> Spec:
    name = next((name for name, known in _classes.items() if known is cls), getattr(cls, "__qualname__", repr(cls)))
    plain = {key: list(value) if isinstance(value, tuple) else value for key, value in arguments.items()}
    return {"name": name, "arguments": plain if all(map(_is_plain, plain.values())) else None}


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)


for _network in (
    MLPGenerator,
    MLPDiscriminator,
    DCGANGenerator,
    DCGANDiscriminator,
    MLPConvGenerator,
    PixelUnshuffleDiscriminator,
    DigitCNN,
    DigitReader,
):
    register(_network.__name__, _network)
for _kind, _module in ((Optimizer, torch.optim), (LRScheduler, lr_scheduler)):
    for _name, _class in vars(_module).items():
        if isinstance(_class, type) and issubclass(_class, _kind) and _class is not _kind and _name[0] != "_":
            register(_name, _class)
