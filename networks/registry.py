"""The table of names: what a checkpoint or a generator's `.json` may ask us to build.

A file that comes from elsewhere must not choose what we import. So files hold a short name and plain arguments,

    {"name": "MLPGenerator", "arguments": {"latent_dim": 100}}

and only names in this table are built. Your own class gets in by `networks.register("MyGenerator", MyGenerator)`.
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
"""`{"name": str, "arguments": {str: plain value} | None}`; plain is a number, string, None or a list of them."""

LONGEST_LIST, DEEPEST_LIST = 1000, 3
"""Of plain values; one of a million widths would take hours to build."""

_classes: dict[str, type] = {}


class NotRegisteredError(ValueError):
    """A file names something that only whoever loads it can supply.

    Args:
        finding: what the file names; to which command lines add advice of their own.
        advice: to somebody who writes code.
    """

    def __init__(self, finding: str, advice: str) -> None:
        super().__init__(finding, advice)
        self.finding = finding

    def __str__(self) -> str:
        return "; ".join(self.args)


def register(name: str, cls: type) -> None:
    """Lets files name `cls` by `name`.

    A network must keep each constructor argument as an attribute of the same name, so that it can be described.

    Raises:
        ValueError: when the name already means another class.
    """
    if _classes.setdefault(name, cls) is not cls:
        raise ValueError(f"the name '{name}' already means {_classes[name].__qualname__}; register another name")


def to_spec(network: nn.Module) -> Spec:
    """The name and arguments from which `build` makes a network like this one (with fresh weights)."""
    parameters = inspect.signature(type(network)).parameters
    arguments = {name: getattr(network, name, inspect.Parameter.empty) for name in parameters}
    return _description(type(network), arguments)


def factory_to_spec(factory: Callable[..., Any]) -> Spec:
    """The same for an optimizer or scheduler class, or a `partial` of one (which is what the CLI hands over)."""
    if not isinstance(factory, partial):
        return _description(factory, {})
    # jsonargparse's partial calls its own function and carries the class among the positional arguments.
    classes = [thing for thing in (factory.func, *factory.args) if isinstance(thing, type)]
    return _description(classes[0] if classes else factory.func, factory.keywords)


def from_spec(description: Spec, kind: type[Kind]) -> Kind:
    """Makes what `describe` described.

    Raises:
        NotRegisteredError: when the table doesn't hold the name, or the file doesn't hold the arguments.
        ValueError: when the description is malformed or names something that is not a `kind`.
    """
    factory = factory_from_spec(description, kind)
    try:
        return factory()
    except TypeError as error:
        raise ValueError(f"{description['name']} can't be built from {description['arguments']}") from error


def factory_from_spec(description: Spec, kind: type[Kind]) -> Callable[..., Kind]:
    """Makes a `partial` of the described class, to be called with what is still missing (parameters, an optimizer).

    Raises:
        ValueError: as `build` does.
    """
    name, arguments = _checked(description)
    if name not in _classes:
        raise NotRegisteredError(
            f"the file names '{name}', which the table of names doesn't hold",
            f"either networks.register('{name}', YourClass) before loading, or pass the object itself",
        )
    cls = _classes[name]
    if not issubclass(cls, kind):
        raise ValueError(f"the file names '{name}' where a {kind.__name__} belongs")
    unknown = set(arguments) - set(inspect.signature(cls).parameters)
    if unknown:
        raise ValueError(f"{name} has no argument '{min(unknown)}'; the file was written by another version")
    return partial(cls, **arguments)


def _description(thing: Callable[..., Any], arguments: dict[str, Any]) -> Spec:
    name = next((name for name, cls in _classes.items() if cls is thing), getattr(thing, "__qualname__", repr(thing)))
    return {"name": name, "arguments": _plain_dict(arguments) if all(map(_is_plain, arguments.values())) else None}


def _checked(description: Spec) -> tuple[str, dict[str, Any]]:
    match description:
        case {"name": str(name), "arguments": dict(arguments), **rest} if not rest:
            if all(map(_is_plain, arguments.values())):
                return name, arguments
        case {"name": str(name), "arguments": None}:
            raise NotRegisteredError(f"the file can't hold the arguments of '{name}'", "pass the object itself")
    raise ValueError('the file doesn\'t describe its network as {"name": …, "arguments": {…}} with plain values')


def _is_plain(value: Any, nesting: int = DEEPEST_LIST) -> bool:
    if isinstance(value, list | tuple):
        return nesting > 0 and len(value) <= LONGEST_LIST and all(_is_plain(inner, nesting - 1) for inner in value)
    return value is None or isinstance(value, bool | int | float | str)


def _plain_dict(arguments: dict[str, Any]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in arguments.items()}


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
