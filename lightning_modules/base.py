"""The base class of the modules: seeds per step, hyperparameters, NaN check, steps that count batches, sharding."""

import inspect
import math
from collections.abc import Iterable
from functools import partial
from typing import Any

import torch
from jaxtyping import Shaped
from lightning.pytorch import LightningModule
from lightning.pytorch.cli import LRSchedulerCallable
from lightning.pytorch.core.optimizer import LightningOptimizer, do_nothing_closure
from lightning.pytorch.utilities.types import LRSchedulerConfigType
from torch import Tensor, nn
from torch.optim import Optimizer

from common.schedules import missing_length
from common.seeding import derive, reseed, run_seed
from common.sharding import shard
from networks.saved_arguments import SavedArguments


class NonFiniteError(FloatingPointError):
    """A loss, a gradient or a parameter is infinite or NaN."""


class TwofoldModule(SavedArguments, LightningModule):  # type: ignore[misc]
    """A LightningModule whose training is a function of (arguments, seed, step), for any number of processes.

    On CUDA this is so with `Trainer(deterministic=True)`, because other algorithms add in an order that may change.

    A checkpoint holds the arguments of the constructor, also of a subclass, and names networks, optimizers and
    schedulers by `networks.registry`. So `load_from_checkpoint(path)` needs no other argument. A subclass that
    overrides a hook, such as `setup` or `on_save_checkpoint`, calls that of `super()`.

    **NaN check.** `NonFiniteError` is raised when a loss or a gradient is not finite: on the CPU before each optimizer
    step, so that no parameter changes; on an accelerator, where each check waits for the device, after the batches that
    are logged. No checkpoint is written while a loss, a gradient or a parameter is not finite. With a GradScaler, which
    skips such steps itself, only the parameters are checked.

    **Several processes.** `strategy: auto` is Lightning's `DDPStrategy`, which averages the ranks' gradients. Ranks may
    have different numbers of rows, so a subclass multiplies its loss by `loss_scale(…)`. In float64 two processes end
    within 1e-6 of one process. In float32 the order of additions differs, and after some hundred steps so do the
    weights. With BatchNorm each rank normalises its own rows, unless it is synchronised (`sync_batchnorm`).

    Attributes:
        seed: the seed of `lightning.seed_everything`, else one drawn when training starts; part of the checkpoint.
    """

    seed: int | None = None

    def __init__(self) -> None:
        super().__init__()
        self._last_loss = torch.zeros(())

    def __setattr__(self, name: str, value: Any) -> None:
        # Lightning sets it 40 times in a batch, and torch would look each time whether a parameter has that name.
        if name == "_current_fx_name":
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

    def setup(self, stage: str) -> None:
        if self.seed is None:
            self.seed = self.trainer.strategy.broadcast(run_seed())

    def seed_for(self, *key: int | str) -> int:
        """Returns the seed of one random stream of this run."""
        assert self.seed is not None, "the seed is known once setup() has run; a setup() of your own calls super()'s"
        return derive(self.seed, *key)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        # What draws from torch's global generator in this step, such as dropout, draws the same after a resume, and
        # something else on each rank, which has other rows.
        rank = [self.trainer.global_rank] if self.trainer.global_rank else []
        reseed(self.seed_for("step", self.trainer.fit_loop.total_batch_idx, *rank), self.device)

    def is_logged(self) -> bool:
        """Whether the batch just trained is logged: logging each takes a noticeable share of a small batch's time.

        Loggers take every `log_every_n_steps`-th batch; the last one of an epoch or of the run stays in
        `trainer.callback_metrics`.
        """
        trainer = self.trainer
        interval: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
        due = interval > 0 and trainer.global_step % interval == 0
        return due or trainer.should_stop or trainer.global_step == trainer.max_steps or trainer.is_last_batch

    # Several processes

    def shard(self, rows: Shaped[Tensor, "batch ..."]) -> Shaped[Tensor, "rows ..."]:
        """Returns this rank's rows of something made for the global batch."""
        return shard(rows, self.trainer.global_rank, self.trainer.world_size)

    def loss_scale(self, rows: Tensor, global_batch_size: int) -> float:
        """Returns the factor by which the mean over this rank's rows enters DDP's mean over the ranks; 1 for one rank.

        The mean over the ranks of (rows × ranks / global batch size) × loss is the loss of the global batch.
        """
        return len(rows) * self.trainer.world_size / global_batch_size

    # NaN check

    def on_before_backward(self, loss: Tensor) -> None:
        self._last_loss = loss.detach()

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        if self.device.type == "cpu":
            self._check_finite(weight for group in optimizer.param_groups for weight in group["params"])

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self.device.type != "cpu" and self.is_logged():
            self._check_finite(self.parameters(), batches=self.trainer.global_step)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        batches = self.trainer.global_step
        self._check_finite(self.parameters(), batches)
        for name, weight in self.named_parameters():
            if not weight.isfinite().all():  # a finite gradient and too large a step
                raise NonFiniteError(f"{_after(batches)} {name} is not finite")
        checkpoint["seed"] = self.seed
        checkpoint["module"] = type(self).__name__

    def _check_finite(self, weights: Iterable[nn.Parameter], batches: int | None = None) -> None:
        """Raises NonFiniteError on all ranks if the last loss or a gradient of `weights` is not finite on one."""
        if getattr(self.trainer.precision_plugin, "scaler", None) is not None:
            return
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        # Reading one number waits for the device once. It may overflow, so each is looked at before it is called bad.
        finite = math.isfinite(nn.utils.get_total_norm(gradients) + self._last_loss) or all(
            each.isfinite().all() for each in (self._last_loss, *gradients)
        )
        if self.trainer.strategy.reduce_boolean_decision(finite):
            return
        batches = self.trainer.fit_loop.total_batch_idx if batches is None else batches
        if not self._last_loss.isfinite():
            raise NonFiniteError(f"{_after(batches)} the loss is {float(self._last_loss)}")
        bad = [name for name, p in self.named_parameters() if p.grad is not None and not p.grad.isfinite().all()]
        what = f"the gradient of {bad[0]}" if bad else "the loss of another process"
        raise NonFiniteError(f"{_after(batches)} {what} is not finite")

    # Hyperparameters and checkpoints

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        match checkpoint:
            case {"seed": int() | None as seed}:
                self.seed = seed
            case _:
                raise ValueError("no seed: the file isn't a module's, or its on_save_checkpoint doesn't call super()'s")

    def restore(self, checkpoint: dict[str, Any], strict: bool | None) -> None:
        weights = checkpoint["state_dict"]
        self.load_state_dict(weights, strict=self.strict_loading if strict is None else strict)
        self.on_load_checkpoint(checkpoint)
        self.to(next((each.device for each in weights.values() if isinstance(each, Tensor)), self.device))

    # Learning-rate schedulers

    def scheduler_config(self, factory: LRSchedulerCallable, optimizer: Optimizer) -> LRSchedulerConfigType:
        """A scheduler that steps with every batch, for as many batches as the run has unless it is given a length.

        Raises:
            ValueError: for ReduceLROnPlateau, which steps by a metric.
        """
        scheduler = fill_schedule_length(factory, self.trainer.max_steps)(optimizer)
        if isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
            raise ValueError("schedulers step with every batch, so none can be ReduceLROnPlateau; write StepLR, say")
        return {"scheduler": scheduler, "interval": "step"}


def exclude_from_global_step(optimizer: LightningOptimizer) -> None:
    """Makes the steps of this optimizer not count as training steps until the end of the batch.

    Lightning's `global_step` counts optimizer steps, so with two optimizers each batch counts twice, and `max_steps`
    ends a run after half its batches (https://github.com/Lightning-AI/pytorch-lightning/issues/17958). Call this at the
    start of each `training_step`, for all optimizers but one: Lightning sets the hooks anew before each batch.
    """
    optimizer._on_before_step = do_nothing_closure
    optimizer._on_after_step = do_nothing_closure


def count_batch(optimizer: LightningOptimizer) -> None:
    """Counts the batch as a training step, where the optimizer whose steps count takes none."""
    optimizer._on_before_step()
    optimizer._on_after_step()


def fill_schedule_length(factory: LRSchedulerCallable, steps: int) -> LRSchedulerCallable:
    """Returns the factory with the scheduler's length set to `steps`, unless it is given or the scheduler has none.

    Args:
        factory: a scheduler class, or a `partial` of one.
        steps: the length; below 1 for a run without a limit, which leaves the factory as it is.
    """
    # jsonargparse's partial calls a function of its own and has the class among the positional arguments.
    parts, given = (
        ((factory.func, *factory.args), factory.keywords) if isinstance(factory, partial) else ((factory,), {})
    )
    cls = next((part for part in parts if isinstance(part, type)), None)
    missing = missing_length({**dict.fromkeys(inspect.signature(cls).parameters), **given}) if cls is not None else None
    return partial(factory, **{missing: steps}) if missing and steps > 0 else factory


def _after(batches: int) -> str:
    return f"after {batches:,} batch{'es' * (batches != 1)}"
