"""The arrows of the house, from benchmarks → scripts → twofold down to networks → torch."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from jaxtyping import TypeCheckError

from networks.mlp_gan import MLPDiscriminator

ROOT = Path(__file__).resolve().parent.parent
MIDDLE = ["lightning_modules", "datamodules", "callbacks"]
MAY_IMPORT = {
    "networks": set(),
    **{package: {"networks"} for package in MIDDLE},
    "twofold": {"networks", *MIDDLE},
    "scripts": {"networks", *MIDDLE, "twofold"},
    "benchmarks": {"networks", *MIDDLE, "twofold", "scripts"},
}
NOT_IN_NETWORKS = {"lightning", "pytorch_lightning", "wandb"}
FILES = [(package, file) for package in MAY_IMPORT for file in sorted((ROOT / package).rglob("*.py"))]


def imported(source: str) -> Iterator[str]:
    """The top-level packages that a source imports, anywhere in it; `import_module("…")` counts."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                yield from (alias.name.split(".")[0] for alias in names)
            case ast.ImportFrom(module=str(module), level=0):
                yield module.split(".")[0]
            case ast.Call(
                func=ast.Attribute(attr="import_module") | ast.Name(id="import_module" | "__import__"),
                args=[ast.Constant(value=str(module)), *_],
            ):
                yield module.split(".")[0]


def against_the_arrows(package: str, source: str) -> set[str]:
    """What a source in `package` imports and may not."""
    forbidden = MAY_IMPORT.keys() - MAY_IMPORT[package] - {package}
    if package == "networks":
        forbidden = forbidden | NOT_IN_NETWORKS
    return forbidden & set(imported(source))


@pytest.mark.parametrize(("package", "file"), FILES, ids=lambda value: getattr(value, "name", value))
def test_imports_follow_the_arrows(package: str, file: Path) -> None:
    assert not against_the_arrows(package, file.read_text())


@pytest.mark.parametrize(
    ("package", "source", "offenders"),
    [
        ("networks", "import lightning.pytorch as pl", {"lightning"}),
        ("networks", "def f():\n    from wandb.sdk import x", {"wandb"}),
        ("networks", "import torch, callbacks.image_grid", {"callbacks"}),
        ("callbacks", "from lightning_modules import GAN", {"lightning_modules"}),
        ("datamodules", "class A:\n    def f(self):\n        import twofold", {"twofold"}),
        ("datamodules", "if TYPE_CHECKING:\n    from callbacks import ImageGrid", {"callbacks"}),
        ("twofold", "importlib.import_module('scripts.report')", {"scripts"}),
        ("twofold", "__import__('scripts')", {"scripts"}),
        ("twofold", "from callbacks import x\nfrom networks import y\nfrom twofold import z\nimport lightning", set()),
        ("callbacks", "from .drawing import grid\nimport lightning", set()),
        ("scripts", "from twofold.main import main", set()),
        ("scripts", "from benchmarks.timing import quartiles", {"benchmarks"}),
        ("benchmarks", "from scripts.jobs import Job", set()),
    ],
)
def test_the_check_itself_sees_what_it_should(package: str, source: str, offenders: set[str]) -> None:
    assert against_the_arrows(package, source) == offenders


def test_runtime_init_imports_nothing() -> None:
    assert not set(imported((ROOT / "twofold" / "__init__.py").read_text()))


def test_shapes_in_signatures_are_checked_while_tests_run() -> None:
    with pytest.raises(TypeCheckError, match="images"):
        MLPDiscriminator()(torch.zeros(2, 784))


def test_networks_come_without_lightning_and_wandb() -> None:
    """Imports each file in a fresh interpreter: a fork of one that has torch and nothing of ours."""
    code = f"""
import os, sys, torch
for module in sys.argv[1:]:
    if os.fork() == 0:
        __import__(module)
        print(module, *sys.modules.keys() & {NOT_IN_NETWORKS}, flush=True)
        os._exit(0)
    os.wait()
"""
    modules = sorted(f"networks.{file.stem}" for file in (ROOT / "networks").glob("*.py"))
    command = [sys.executable, "-c", code, *modules]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.splitlines() == modules
