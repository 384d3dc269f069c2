"""What every module here shares: a run that repeats, and checkpoints that can be trusted."""

import copy
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self, get_type_hints

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable, ReduceLROnPlateau
from lightning.pytorch.utilities.types import LRSchedulerConfigType
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from common.files import read_tensors
from common.seeding import derive, reseed, run_seed
from lightning_modules.distributed import DistributedModule
from networks import registry

registry.register("MonitoredReduceLROnPlateau", ReduceLROnPlateau)


class TwofoldModule(DistributedModule):
    """A LightningModule whose training is a function of (arguments, seed, step), whatever number of processes train it.

    A subclass keeps each constructor argument as an attribute of the same name and ends its `__init__` with
    `self.save_arguments()`. Then a checkpoint names networks, optimizers and schedulers by `networks.registry`, and
    `load_from_checkpoint(path)` needs nothing else.

    Attributes:
        seed: that of `lightning.seed_everything`, else one drawn when training starts; kept in the checkpoint.
    """

    seed: int | None = None

    def setup(self, stage: str) -> None:
        super().setup(stage)
        if self.seed is None:
            self.seed = self.trainer.strategy.broadcast(run_seed())

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        super().on_train_batch_start(batch, batch_idx)
        # Whatever draws from torch's global generator in this step (dropout, say) draws the same after a resume, and
        # on each rank, which has other rows, something else.
        rank = [self.ranks.rank] if self.ranks.rank else []
        reseed(self.seed_for("step", self.trainer.global_step, *rank), self.device)

    def is_read(self) -> bool:
        """Whether anybody looks at what is logged of the batch just trained; to log is dear next to a small batch.

        Loggers take every `log_every_n_steps`-th; the last one of an epoch, or of the run, stays for all to see in
        `trainer.callback_metrics`.
        """
        trainer = self.trainer
        interval: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
        due = interval > 0 and trainer.global_step % interval == 0
        ends = trainer.should_stop or trainer.global_step == trainer.max_steps
        return due or ends or trainer.is_last_batch

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["seed"] = self.seed

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        match checkpoint:
            case {"seed": int() | None as seed}:
                self.seed = seed
            case _:
                raise ValueError(f"the checkpoint holds no seed, so it isn't one of a {type(self).__name__}")

    def seed_for(self, *key: int | str) -> int:
        """The seed of one random stream of this run."""
        assert self.seed is not None, "the seed is known once setup() has run"
        return derive(self.seed, *key)

    def save_arguments(self) -> None:
        """Puts the constructor's arguments into `hparams`, and so into checkpoints and loggers, as plain values."""
        names = inspect.signature(type(self)).parameters
        self.save_hyperparameters({name: _plain(getattr(self, name)) for name in names})

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]
        cls, checkpoint_path: str | Path, map_location: torch.device | str = "cpu", **arguments: Any
    ) -> Self:
        """Builds the module that was saved, with its weights.

        Args:
            checkpoint_path: a file that the Trainer wrote.
            map_location: where the weights go.
            arguments: constructor arguments to use instead of the saved ones, such as a network of your own class.

        Raises:
            ValueError: when the file is damaged, holds pickled code, names what `networks.registry` doesn't hold,
                belongs to another module, or holds weights of other shapes.
        """
        checkpoint = read_tensors(checkpoint_path, map_location)
        kinds = _kinds(cls)
        match checkpoint:
            case {"state_dict": dict(weights), "hyper_parameters": dict(saved), "seed": int() | None} if (
                saved.keys() == kinds.keys()
            ):
                pass
            case _:
                raise ValueError(f"{checkpoint_path} is not a checkpoint of a {cls.__name__}")
        named = {name: kinds[name] for name in saved.keys() - arguments.keys()}
        try:
            with torch.device("meta"):  # first without memory: the file may claim any size
                sizes = {name: copy.deepcopy(part).to("meta") for name, part in _networks(arguments).items()}
                skeleton = cls(**{**arguments, **sizes}, **_restored(saved, named))
            skeleton.load_state_dict(weights, assign=True)
            module = cls(**arguments, **_restored(saved, named)).to(map_location)
            module.load_state_dict(weights)
        except (TypeError, AttributeError, ArithmeticError, RuntimeError) as error:
            raise ValueError(f"{checkpoint_path} doesn't fit this {cls.__name__}: {error}") from error
        module.on_load_checkpoint(checkpoint)
        return module.eval()


def scheduler_config(factory: LRSchedulerCallable, optimizer: Optimizer) -> LRSchedulerConfigType:
    """A scheduler that steps with every batch; ReduceLROnPlateau steps after validation, by what it monitors."""
    scheduler = factory(optimizer)
    if isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
        monitor = getattr(scheduler, "monitor", "val/loss")
        return {"scheduler": scheduler, "interval": "epoch", "monitor": monitor}
    return {"scheduler": scheduler, "interval": "step"}


def _plain(value: Any) -> Any:
    if isinstance(value, nn.Module):
        return registry.to_spec(value)
    return registry.factory_to_spec(value) if callable(value) else value


def _kinds(cls: type) -> dict[str, type | None]:
    """For each constructor argument the kind of thing a checkpoint may name for it; None for a plain value."""
    kinds: dict[Any, type] = {
        nn.Module: nn.Module,
        OptimizerCallable: Optimizer,
        LRSchedulerCallable | None: LRScheduler,
    }
    hints = get_type_hints(cls.__init__)  # type: ignore[misc]
    return {name: kinds.get(hints.get(name)) for name in inspect.signature(cls).parameters}


def _networks(arguments: dict[str, Any]) -> dict[str, nn.Module]:
    return {name: part for name, part in arguments.items() if isinstance(part, nn.Module)}


def _restored(saved: dict[str, Any], kinds: dict[str, type | None]) -> dict[str, Any]:
    return {name: _restore(saved[name], kind) for name, kind in kinds.items()}


def _restore(value: Any, kind: type | None) -> Any:
    if kind is None or value is None:
        return value
    build: Callable[..., Any] = registry.from_spec if kind is nn.Module else registry.factory_from_spec
    return build(value, kind)
