"""A run ends before a number that isn't finite spoils its weights."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from jaxtyping import Float, Int
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.optim import Optimizer

from common.sharding import ALONE, Ranks

READ_EVERY = 50
"""Batches between two looks at a flag on a device where each look waits for all that goes on."""


class NonFiniteError(FloatingPointError):
    """A loss or a gradient is infinite or not a number; no weight has moved by it."""


class NaNCheck:
    """Looks at each loss before it goes backward, and at the gradients before each step of an optimizer.

    On the CPU it raises there and then. On another device a look would make the program wait for the device at every
    step, so there a flag stays on the device: once a number is bad, `stopped` is 1, the optimizers leave out this and
    every later step, and averages stand still. The flag is read every 50 batches and before a checkpoint is written.
    Optimizers can leave out a step if they are `fused`; with any other each step waits for the device, which costs
    what a GPU gains by running ahead.

    Where many processes train together, they raise together: `trust` makes all their gradients NaN once one of them has
    a bad loss, which each of them then sees.

    BatchNorm's running statistics are not protected, for they change on the way forward. With 16-bit floats and a
    gradient scaler, which expects infinite gradients and leaves out their steps itself, only losses are looked at.

    Attributes:
        stopped: 0, or 1 from the first bad batch on; on the device.
    """

    stopped: Float[Tensor, ""]
    _first: Int[Tensor, ""]

    def __init__(self) -> None:
        self.begin(torch.device("cpu"))

    def begin(self, device: torch.device, ranks: Ranks = ALONE) -> None:
        """Forgets what was, for a training on `device` by `ranks`."""
        self.ranks = ranks
        self.waits = read_is_slow(device)
        self._bad_loss: NonFiniteError | None = None
        self.batches = 0
        self.stopped = torch.zeros((), device=device)
        self._first = torch.zeros((), dtype=torch.long, device=device)

    def begin_batch(self, batches: int) -> None:
        """Takes the number of batches that have been trained, none of them bad as far as is known."""
        self.batches = batches
        if batches % READ_EVERY == 0:
            self.read()

    def loss(self, loss: Tensor) -> None:
        """Raises NonFiniteError, now or at a later `read`, unless the loss is finite."""
        if self.waits:
            self._note(loss.detach().isfinite().all())
        elif not loss.isfinite().all():
            self._bad_loss = NonFiniteError(f"{_after(self.batches)} the loss is {float(loss.detach().sum())}")
            if self.ranks.count == 1:
                raise self._bad_loss

    def trust(self) -> float | Float[Tensor, ""]:
        """What to multiply this rank's gradients by before they are added to others': 1, or NaN after a bad loss."""
        if self.waits:
            return torch.where(self.stopped > 0, math.nan, 1.0)
        return 1.0 if self._bad_loss is None else math.nan

    def gradients(self, module: nn.Module, optimizer: Optimizer) -> None:
        """Raises NonFiniteError, now or later, unless all by which `optimizer` is about to move `module` is finite."""
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        if not self.waits:
            # Sums are quickly computed, but of finite numbers they may be infinite.
            if not math.isfinite(sum(float(gradient.sum()) for gradient in gradients)):
                self._refuse(module, gradients)
            return
        self._note(nn.utils.get_total_norm(gradients, math.inf).isfinite())
        if getattr(optimizer, "_step_supports_amp_scaling", False):
            optimizer.found_inf = self.stopped  # type: ignore[attr-defined]
        else:
            self.read()

    def read(self) -> None:
        """Raises NonFiniteError if a number was bad; waits for the device."""
        if self.waits and self.ranks.highest(int(self.stopped.item())):
            raise NonFiniteError(f"{_after(int(self._first.item()))} a loss or a gradient is not finite")

    def _refuse(self, module: nn.Module, gradients: Iterable[Tensor]) -> None:
        if self._bad_loss is not None:
            raise self._bad_loss
        names = {id(parameter.grad): name for name, parameter in module.named_parameters()}
        for gradient in gradients:
            if not gradient.isfinite().all():
                name = names.get(id(gradient), "a parameter")
                raise NonFiniteError(f"{_after(self.batches)} the gradient of {name} is not finite")

    def _note(self, good: Tensor) -> None:
        new = (1 - self.stopped) * ~good
        self._first += (new * self.batches).long()
        self.stopped += new


def read_is_slow(device: torch.device) -> bool:
    """Whether to read a number waits for all that the device still has to do."""
    return device.type != "cpu"


def _after(batches: int) -> str:
    return f"after {batches:,} batch{'es' * (batches != 1)}"


class NaNCheckedModule(LightningModule):
    """A LightningModule whose training raises NonFiniteError when a loss or gradient isn't finite.

    Nor does it save weights that aren't. A subclass with hooks of its own calls those of this class, too.
    """

    ranks = ALONE
    """The processes that train together."""

    def __init__(self) -> None:
        super().__init__()
        self.guard = NaNCheck()

    def on_fit_start(self) -> None:
        self.guard.begin(self.device, self.ranks)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        self.guard.begin_batch(self.trainer.global_step)

    def on_before_backward(self, loss: Tensor) -> None:
        self.guard.loss(loss)

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        if getattr(self.trainer.precision_plugin, "scaler", None) is None:
            self.guard.gradients(self, optimizer)

    def on_train_end(self) -> None:
        self.guard.read()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.guard.read()
        for name, parameter in self.named_parameters():
            if not parameter.isfinite().all():  # by a step too large, for its gradient was finite
                raise NonFiniteError(f"{_after(self.trainer.global_step)} {name} is not finite")
