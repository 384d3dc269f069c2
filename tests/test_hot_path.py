"""A training batch never waits for an accelerator. Shown on the meta device, whose tensors have no values to read."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from scripts.train_runs import read_shipped
from twofold.provenance import CONFIGS

META = torch.device("meta")
QUICK = ("gan", "wgan_gp", "digit_classifier", "palindrome_lstm", "palindrome_recall", "recall")
SHIPPED = sorted(path.stem for path in CONFIGS.glob("*.yaml") if path.stem not in ("base", "gan_folder"))
NETWORKS = [("induction", f"--model.network={name}") for name in ("MinGRU", "LRU", "S6")]
CASES = [*((name, "") for name in SHIPPED), *NETWORKS]
FIRST, LAST = 3, 6
"""The first batches that are watched, and the one after them; none of them is logged."""


class OnMeta(SingleDeviceStrategy):
    """Trains on the meta device."""

    def __init__(self) -> None:
        accelerator = CPUAccelerator()
        accelerator.setup_device = lambda device: None  # type: ignore[method-assign]
        super().__init__(META, accelerator)

    def teardown(self) -> None:
        """Leaves the module where it is: what has no values can't be moved."""


class MetaGenerator(torch.Generator):
    device = META


class Copies(TorchDispatchMode):
    """Keeps the names of operations from tensors of the CPU to the meta device in `found`."""

    found: list[str]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        from_cpu = any(isinstance(each, Tensor) and each.device.type == "cpu" for each in args)
        if from_cpu and isinstance(result, Tensor) and result.device == META:
            self.found.append(str(func))
        return result


class Watch(Callback):
    """Watches some batches, then ends the run by an exception."""

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == FIRST:
            self.copies, self.watching = Copies(), ExitStack()  # type: ignore[no-untyped-call]
            self.copies.found = []
            self.watching.enter_context(self.copies)
        if batch_idx == LAST:
            self.watching.close()
            raise RuntimeError(f"watched; copied {self.copies.found}")


@pytest.mark.parametrize(
    ("experiment", "option"),
    [pytest.param(*case, marks=() if case[0] in QUICK else pytest.mark.slow) for case in CASES],
)
def test_a_batch_reads_no_number_and_copies_only_itself(
    in_process: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch, experiment: str, option: str
) -> None:
    # What the meta device lacks.
    monkeypatch.setattr("lightning_modules.base.reseed", lambda *_: None)
    monkeypatch.setattr("lightning_modules.gan.rng", lambda *_, **__: MetaGenerator())
    monkeypatch.setattr("lightning.pytorch.loops.fit_loop.has_len_all_ranks", lambda *_: True)
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda _: False)
    config = read_shipped(experiment)
    optimizers = [name for name in config["model"]["init_args"] if name.endswith("optimizer")]
    has_images = "MNIST" in config["data"]["class_path"]
    settings = [
        *(f"--model.{name}.init_args.fused=false" for name in optimizers),
        *(["--data.source=packaged", "--trainer.callbacks=null"] if has_images else []),  # which draw and evaluate
        *([option, "--model.network.input_size=17", "--model.network.hidden_size=8"] if option else []),
        *("--trainer.logger=false", "--trainer.enable_checkpointing=false", "--trainer.limit_val_batches=0"),
        *("--trainer.log_every_n_steps=50", '--trainer.strategy={"class_path": "test_hot_path.OnMeta"}'),
        "--trainer.callbacks+=test_hot_path.Watch",
    ]
    code, _, complained = in_process(f"fit -c {experiment}", *settings)
    parts = 1 if has_images else 2  # the images' indices, or symbols and targets
    copied = ["aten._to_copy.default"] * parts * (LAST - FIRST)
    assert (code, complained) == (
        1,
        f"twofold: the run failed: watched; copied {copied} (TWOFOLD_DEBUG=1 shows where)\n",
    )
