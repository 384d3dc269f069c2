"""What a run's numbers depend on: the code, the libraries, the size of the networks."""

import os
import platform
import subprocess
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from torch import nn
from torch.nn.parameter import is_lazy

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / "configs"
PACKAGES = ("torch", "lightning", "torchmetrics", "numpy", "wandb")
SECONDS_FOR_GIT = 5


def versions() -> dict[str, str]:
    """Returns the versions of Python and of the packages that a run's numbers depend on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def code_version(folder: Path = ROOT) -> dict[str, Any]:
    """Returns the git `commit` of the checkout at `folder`, and whether it is `clean`: no changes, no untracked files.

    Empty if the folder isn't the root of a checkout, or git isn't installed.
    """
    top, commit = _git(folder, "rev-parse", "--show-toplevel", "HEAD") or ("", "")
    if not commit or Path(top) != folder.resolve():
        return {}
    changes = _git(folder, "--no-optional-locks", "status", "--porcelain")
    return {"commit": commit} if changes is None else {"commit": commit, "clean": not changes}


def _git(folder: Path, *arguments: str) -> list[str] | None:
    """Returns the lines of git's output, or None if git fails."""
    # In a git hook these variables point to another repository.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, env=environment, capture_output=True, timeout=SECONDS_FOR_GIT
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return os.fsdecode(done.stdout).splitlines() if done.returncode == 0 else None


def parameter_counts(module: nn.Module) -> dict[str, int]:
    """Returns the number of parameters of each network in a module, of all together, and of those that are trained."""
    networks = {name: _count(network) for name, network in module.named_children()}
    trainable = sum(p.numel() for p in module.parameters() if p.requires_grad and not is_lazy(p))
    return {**{name: n for name, n in networks.items() if n}, "total": _count(module), "trainable": trainable}


def _count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters() if not is_lazy(p))
