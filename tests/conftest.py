"""While tests run, the shapes in signatures are checked: `Float[Tensor, "batch 1 28 28"]` is then a promise."""

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jaxtyping import config, install_import_hook

# Before any test file imports them.
install_import_hook(["networks", "lightning_modules", "datamodules", "callbacks"], "shape_checks.checked")

import torch  # noqa: E402
from lightning.pytorch import Trainer  # noqa: E402

from datamodules import MNISTDataModule  # noqa: E402
from runtime.cli import main  # noqa: E402

# Two threads on a busy machine wait for each other: a test of 7 s once took 130.
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Switches the checks off, to see what our own refusals tell somebody who hands over a wrong shape."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)


@pytest.fixture
def plain_trainer(tmp_path: Path) -> Callable[..., Trainer]:
    """Makes what a reader would write in a notebook: a Trainer on the CPU, in a folder of its own, without our CLI."""

    def make(max_steps: int = 3, **arguments: Any) -> Trainer:
        quiet = {"enable_progress_bar": False, "enable_model_summary": False, "num_sanity_val_steps": 0}
        defaults = {"accelerator": "cpu", "logger": False, "enable_checkpointing": False, "default_root_dir": tmp_path}
        return Trainer(max_steps=max_steps, **{**quiet, **defaults, **arguments})

    return make


@pytest.fixture
def digits() -> MNISTDataModule:
    """The packaged digits in small batches."""
    return MNISTDataModule(source="packaged", batch_size=8)


@pytest.fixture
def twofold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """`twofold("fit -c", …)` in this process and a new folder: exit code, what it printed, what it complained."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TWOFOLD_RUNS", raising=False)
    monkeypatch.delenv("TWOFOLD_DEBUG", raising=False)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    for name in ("PL_GLOBAL_SEED", "PL_SEED_WORKERS"):  # which the command sets
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)

    def run(command: str = "", *arguments: object) -> tuple[int, str, str]:
        code = main([*command.split(), *map(str, arguments)])
        return code, *capsys.readouterr()

    return run
