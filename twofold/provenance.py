"""Where numbers come from: which code, on which libraries, with how large a network."""

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
    """Of Python and of the packages that a run's numbers depend on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def code_version(folder: Path = ROOT) -> dict[str, Any]:
    """The git `commit` checked out at `folder`, and whether the tree is `clean`: nothing changed, nothing untracked.

    Empty where the folder is no checkout of its own, or where there is no git.
    """
    top, commit = _git(folder, "rev-parse", "--show-toplevel", "HEAD") or ("", "")
    if not commit or Path(top) != folder.resolve():
        return {}
    changes = _git(folder, "--no-optional-locks", "status", "--porcelain")
    return {"commit": commit} if changes is None else {"commit": commit, "clean": not changes}


def last_commit(file: Path, folder: Path = ROOT) -> str:
    """The short commit of the checkout at `folder` that last changed a file, "+" if the file isn't as it was, its date.

    Empty where git doesn't know the file.
    """
    found = _git(folder, "log", "-1", "--format=%h%n%cs", "--", str(file))
    if not found:
        return ""
    commit, date = found
    changed = _git(folder, "--no-optional-locks", "status", "--porcelain", "--", str(file))
    return f"{commit}{'+' * bool(changed)} of {date}"


def _git(folder: Path, *arguments: str) -> list[str] | None:
    """The lines that git answers, or None where it can't."""
    # Within a hook, git's variables point to another repository.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=SECONDS_FOR_GIT
        )
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return None
    return done.stdout.splitlines() if done.returncode == 0 else None


def parameter_counts(module: nn.Module) -> dict[str, int]:
    """Of each network in a module by its name, of all together, and how many of these are trained."""
    networks = {name: _count(network) for name, network in module.named_children()}
    trainable = sum(p.numel() for p in module.parameters() if p.requires_grad and not is_lazy(p))
    return {**{name: n for name, n in networks.items() if n}, "total": _count(module), "trainable": trainable}


def _count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters() if not is_lazy(p))
