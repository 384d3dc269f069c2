"""The dependency rule between packages, the size of files, and the encoding of those that they open."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from jaxtyping import TypeCheckError

from networks.mlp_gan import MLPDiscriminator

ROOT = Path(__file__).resolve().parent.parent
PLAIN_TORCH = {"common", "networks", "losses", "metrics"}
MIDDLE = {"lightning_modules", "datamodules", "callbacks"}
MAY_IMPORT: dict[str, set[str]] = {
    "common": set(),
    "networks": {"common"},
    "losses": {"common"},
    "metrics": {"common", "networks"},
    **dict.fromkeys(sorted(MIDDLE), PLAIN_TORCH),
    "twofold": PLAIN_TORCH | MIDDLE,
    "scripts": PLAIN_TORCH | MIDDLE | {"twofold"},
    "benchmarks": PLAIN_TORCH | MIDDLE | {"twofold", "scripts"},
}
TRAINING_LIBRARIES = {"lightning", "pytorch_lightning", "wandb"}
WITHOUT_ENCODING = re.compile(
    r'(\.(read|write)_text|(?<!Image)(?<!os)\.open|(?<![.\w])open)\((?!.*encoding=|.*"[rwxa]b\+?")'
)
"""Text that is read or written in the locale's encoding. Ruff's PLW1514 misses paths that a function is given."""


def imported(source: str) -> Iterator[str]:
    """The top-level packages that a source imports anywhere."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                yield from (alias.name.split(".")[0] for alias in names)
            case ast.ImportFrom(module=str(module), level=0):
                yield module.split(".")[0]


def violations(package: str, source: str) -> set[str]:
    """The packages that a source in `package` imports against the rule."""
    forbidden = MAY_IMPORT.keys() - MAY_IMPORT[package] - {package}
    if package in PLAIN_TORCH:
        forbidden = forbidden | TRAINING_LIBRARIES
    return forbidden & set(imported(source))


@pytest.mark.parametrize("package", sorted(MAY_IMPORT))
def test_packages_follow_the_rules_of_dependencies_sizes_and_encodings(package: str) -> None:
    sources = {str(file): file.read_text(encoding="utf-8") for file in (ROOT / package).rglob("*.py")}
    assert sources
    assert [file for file, source in sources.items() if violations(package, source)] == []
    assert [line for source in sources.values() for line in source.splitlines() if WITHOUT_ENCODING.search(line)] == []
    assert [file for file, source in sources.items() if source.count("\n") > 300] == []


def test_shapes_in_signatures_are_checked_while_tests_run() -> None:
    with pytest.raises(TypeCheckError, match="images"):
        MLPDiscriminator()(torch.zeros(2, 784))
