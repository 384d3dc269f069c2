"""The registry of names that a checkpoint or a generator's `.json` file may ask to be built.

A file from elsewhere must not choose what is imported. So files hold a registered name and plain arguments,

    {"name": "MLPGenerator", "arguments": {"latent_dim": 100}}

and only registered names are built. Add your own class by `networks.register("MyGenerator", MyGenerator)`.
"""

import inspect
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer, lr_scheduler
from torch.optim.lr_scheduler import LRScheduler

from networks.classifiers import DigitCNN, DigitReader
from networks.dcgan import DCGANDiscriminator, DCGANGenerator
from networks.gru import GRU
from networks.lru import LRU
from networks.lstm import LSTM
from networks.min_gru import MinGRU
from networks.mlp_conv_gan import MLPConvGenerator, PixelUnshuffleDiscriminator
from networks.mlp_gan import MLPDiscriminator, MLPGenerator
from networks.rnn import RNN
from networks.s6 import S6
from networks.transformer import Transformer

Spec = dict[str, Any]
"""`{"name": str, "arguments": {str: plain value} | None}`. A plain value is a number, a string, None, another spec, or
a list or dictionary of plain values."""

PLAIN = (type(None), bool, int, float, str)
"""The types of single plain values. A file would hold the name of a subclass, such as that of an enumeration."""

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
    arguments = {name: getattr(network, name) for name in parameters if hasattr(network, name)}
    return _spec(type(network), arguments if len(arguments) == len(parameters) else None)


def to_plain(value: Any) -> Any:
    """Returns what a file can hold of a constructor's argument.

    Networks become specs, and so do the classes of optimizers and schedulers, and `partial`s of them. The spec of any
    other object can't be built; whoever loads the file has to pass the object.
    """
    match value:
        case nn.Module():
            return to_spec(value)
        case list() | tuple():
            return [to_plain(each) for each in value]
        case dict():
            return {key: to_plain(each) for key, each in value.items()}
        case partial():
            # jsonargparse's partial calls a function of its own and has the class among the positional arguments.
            classes = [each for each in (value.func, *value.args) if isinstance(each, type)]
            return _spec(classes[0] if classes else value.func, value.keywords)
        case Path():
            return str(value)
        case np.generic():
            return to_plain(value.item())
    if type(value) in PLAIN:
        return value
    return _spec(value, {}) if callable(value) else _spec(type(value), None)


def from_spec(spec: Any, kind: type) -> Any:
    """Builds the network of a spec; of an optimizer or scheduler, a `partial` that takes parameters or an optimizer.

    Raises:
        NotRegisteredError: when the name isn't registered, or the file lacks the arguments.
        ValueError: when the spec is malformed, or names something that isn't a `kind`.
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
    try:
        factory = partial(cls, **from_plain(arguments))
        return factory() if issubclass(cls, nn.Module) else factory
    except NotRegisteredError as error:
        raise NotRegisteredError(f"the file can't hold the arguments of '{name}'; pass the object itself") from error
    except TypeError as error:
        raise ValueError(f"{name} can't be built from {arguments}") from error


def from_plain(value: Any) -> Any:
    """Returns the argument of which `to_plain` returned `value`; raises as `from_spec` does."""
    match value:
        case {"name": str(), "arguments": dict() | None}:
            return from_spec(value, object)
        case dict():
            return {key: from_plain(each) for key, each in value.items()}
        case list():
            return [from_plain(each) for each in value]
    return value


def _spec(cls: Any, arguments: dict[str, Any] | None) -> Spec:
    name = next((name for name, known in _classes.items() if known is cls), getattr(cls, "__qualname__", repr(cls)))
    return {"name": name, "arguments": to_plain(arguments)}


NETWORKS = (
    MLPGenerator,
    MLPDiscriminator,
    DCGANGenerator,
    DCGANDiscriminator,
    MLPConvGenerator,
    PixelUnshuffleDiscriminator,
    DigitCNN,
    DigitReader,
    LSTM,
    RNN,
    GRU,
    MinGRU,
    LRU,
    S6,
    Transformer,
)
for _network in NETWORKS:
    register(_network.__name__, _network)
for _kind, _module in ((Optimizer, torch.optim), (LRScheduler, lr_scheduler)):
    for _name, _class in vars(_module).items():
        if isinstance(_class, type) and issubclass(_class, _kind) and _class is not _kind and _name[0] != "_":
            register(_name, _class)
