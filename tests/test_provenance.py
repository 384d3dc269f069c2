"""Which code, which libraries, how large a network."""

import platform
import subprocess
from pathlib import Path

import pytest
import torch
from torch import nn

from lightning_modules import GAN
from networks.mlp_gan import MLPDiscriminator, MLPGenerator
from twofold.provenance import code_version, parameter_counts, versions


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git repository with one commit."""
    for name in ("GIT_AUTHOR", "GIT_COMMITTER"):
        monkeypatch.setenv(f"{name}_NAME", "somebody")
        monkeypatch.setenv(f"{name}_EMAIL", "somebody@example.com")
    folder = tmp_path / "checkout"
    folder.mkdir()
    (folder / "code.py").write_text("x = 1\n")
    (folder / ".gitignore").write_text("runs/\n")
    for command in ("init --quiet", "add .", "commit --quiet --message first"):
        subprocess.run(["git", *command.split()], cwd=folder, check=True)
    return folder


def head(folder: Path) -> str:
    return subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


def test_the_commit_and_whether_anything_was_changed_since(checkout: Path) -> None:
    commit = head(checkout)
    assert code_version(checkout) == {"commit": commit, "clean": True}
    (checkout / "runs").mkdir()
    (checkout / "runs" / "metrics.csv").touch()
    assert code_version(checkout) == {"commit": commit, "clean": True}
    (checkout / "new.py").touch()
    assert code_version(checkout) == {"commit": commit, "clean": False}
    (checkout / "new.py").rename(checkout / "code.py")
    assert code_version(checkout) == {"commit": commit, "clean": False}


def test_only_the_checkout_s_own_commit_counts(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = head(checkout)
    (checkout / "copied").mkdir()
    assert code_version(checkout / "copied") == {}
    assert code_version(checkout.parent) == {}
    monkeypatch.setenv("GIT_DIR", str(checkout.parent / "elsewhere"))  # as in a hook
    assert code_version(checkout)["commit"] == commit


def test_without_git_nothing_is_known(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(checkout))
    assert code_version(checkout) == {}


def test_versions_are_those_installed() -> None:
    found = versions()
    assert list(found) == ["python", "torch", "lightning", "torchmetrics", "numpy", "wandb"]
    assert found["python"] == platform.python_version()
    assert torch.__version__.startswith(found["torch"].partition("+")[0])


def test_parameters_are_counted_by_network() -> None:
    module = nn.ModuleDict({"lazy": nn.LazyLinear(3), "relu": nn.ReLU(), "frozen": nn.Linear(2, 1)})
    module["frozen"].requires_grad_(False)
    assert parameter_counts(module) == {"frozen": 3, "total": 3, "trainable": 0}
    gan = GAN(MLPGenerator(latent_dim=5, widths=[7], normalisation="none"), MLPDiscriminator(widths=[3]), ema_decay=0.9)
    generator, discriminator = 5 * 7 + 7 + 7 * 784 + 784, 784 * 3 + 3 + 3 + 1
    assert parameter_counts(gan) == {
        "generator": generator,
        "discriminator": discriminator,
        "ema": generator,
        "total": 2 * generator + discriminator,
        "trainable": generator + discriminator,
    }
