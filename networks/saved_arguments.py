"""Modules and datamodules that are built again from their constructor's arguments in a checkpoint."""

import inspect
from abc import ABCMeta
from inspect import Parameter, Signature
from pathlib import Path
from typing import Any, Self, cast

import torch
from torch import nn

from common.files import read_tensors
from networks.registry import NotRegisteredError, from_plain, to_plain


class SavesArguments(ABCMeta):
    """Puts the arguments of a constructor into `hparams`, and so into checkpoints, once the object is whole.

    So a subclass may have arguments of its own, and pass others on by `*args` and `**kwargs`. It derives from ABCMeta
    so that a subclass may also derive from an abstract class.
    """

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        whole = super().__call__(*args, **kwargs)
        bound = cls.__signature__.bind(*args, **kwargs)
        bound.apply_defaults()
        arguments = dict(bound.arguments)
        for name, parameter in bound.signature.parameters.items():
            if parameter.kind is Parameter.VAR_KEYWORD:
                arguments |= arguments.pop(name)
        for name in argument_names(cls):
            whole.hparams.pop(name, None)  # saved for the constructor of a parent
        # Only a module's go to the loggers: Lightning refuses a name that both have with different values.
        whole.save_hyperparameters(to_plain(arguments), logger=isinstance(whole, nn.Module))
        return whole

    @property
    def __signature__(cls) -> Signature:
        """The constructor's signature; `inspect.signature` would take that of `__call__`."""
        constructor = inspect.signature(cls.__init__)  # type: ignore[misc]
        return constructor.replace(parameters=[*constructor.parameters.values()][1:])


class SavedArguments(metaclass=SavesArguments):
    """A mixin for a LightningModule or a LightningDataModule, which loads it from a checkpoint.

    The class has a method `restore(checkpoint, strict)`, which takes the state.
    """

    CHECKPOINT_HYPER_PARAMS_KEY: str

    @classmethod
    def load_from_checkpoint(
        cls, checkpoint_path: str | Path, map_location: Any = "cpu", *, strict: bool | None = None, **arguments: Any
    ) -> Self:
        """Builds the object that was saved, with its state; a module is in train mode, as Lightning's are.

        Args:
            checkpoint_path: a file that the Trainer wrote.
            map_location: the device of the weights, as `torch.load` takes it.
            strict: whether the names of the weights must be those of the module; by default its `strict_loading`.
            arguments: constructor arguments that replace the saved ones, such as a network of your own class.

        Raises:
            ValueError: when the file is damaged, holds pickled code, names what `networks.registry` doesn't hold,
                belongs to another class, or holds weights of other shapes; for Lightning's `hparams_file`, and for
                `weights_only=False`.
            RuntimeError: when there is no such device.
        """
        for name in ("hparams_file", "weights_only"):
            if (value := arguments.pop(name, None)) not in (None, True):
                raise ValueError(
                    f"{name} is {value}, but arguments come from the checkpoint, whose code never runs; leave it out"
                )
        if isinstance(map_location, str | torch.device):
            torch.empty(0, device=map_location)
        checkpoint, parameters = read_tensors(checkpoint_path, map_location), inspect.signature(cls).parameters
        match checkpoint:
            case {"state_dict": dict(), cls.CHECKPOINT_HYPER_PARAMS_KEY: dict(saved)}:
                pass
            case {"state_dict": dict()} if not parameters:
                saved = {}
            case _:
                raise ValueError(f"{checkpoint_path} is not a checkpoint of a {cls.__name__}")
        if Parameter.VAR_KEYWORD not in {parameter.kind for parameter in parameters.values()}:
            # As in Lightning: a parent may be loaded from the checkpoint of its subclass.
            saved = {name: value for name, value in saved.items() if name in parameters}
        try:
            given = dict(arguments)
            for name in saved.keys() - arguments.keys():
                # A default may be an object that the file can't hold.
                if name not in parameters or saved[name] != to_plain(parameters[name].default):
                    given[name] = _restored(name, saved[name])
            bound = inspect.signature(cls).bind_partial()
            bound.arguments |= {name: given.pop(name) for name in parameters if name in given}
            whole: Any = cls(*bound.args, **bound.kwargs, **given)
            whole.restore(checkpoint, strict)
        except (TypeError, AttributeError, ArithmeticError, RuntimeError) as error:
            takes = f"; its arguments are {', '.join(argument_names(cls))}" if isinstance(error, TypeError) else ""
            raise ValueError(f"{checkpoint_path} doesn't fit this {cls.__name__}: {error}{takes}") from error
        return cast("Self", whole)


def _restored(name: str, value: Any) -> Any:
    try:
        return from_plain(value)
    except NotRegisteredError as error:
        raise NotRegisteredError(f"{name}: {error}") from error


def argument_names(cls: type) -> list[str]:
    """Returns the names of a constructor's arguments, with those of the parent's if `**kwargs` passes them on."""
    parameters = inspect.signature(cls).parameters.values()
    own = [parameter.name for parameter in parameters if parameter.kind is not Parameter.VAR_KEYWORD]
    passed_on = [] if len(own) == len(parameters) or cls.__base__ is None else argument_names(cls.__base__)
    return [*dict.fromkeys([*own, *passed_on])]
