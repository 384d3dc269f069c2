"""Runs the command in other processes, in the home of a user without a W&B account."""

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

COMMAND = Path(sys.executable).with_name("twofold")
TESTS = Path(__file__).parents[1]
ROOT = TESTS.parent
# This checkout first: another one may be installed.
PYTHONPATH = os.pathsep.join(map(str, (ROOT, TESTS)))
PACKAGES = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
FOLDERS = [package for package in PACKAGES if "." not in package]  # the others lie within
Twofold = Callable[..., "subprocess.CompletedProcess[str]"]


def inherited_environment() -> dict[str, str]:
    """The environment without variables that change what a command does: W&B's, Lightning's, ours and make's."""
    unwanted = ("WANDB_", "PL_", "TWOFOLD", "MAKE", "MFLAGS")
    return {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder without W&B account."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def twofold(home: Path) -> Twofold:
    """`twofold(cwd, *arguments, **environment)` runs the command in a process.

    `launcher` stands before the command; `limits` go to `subprocess.run`.
    """
    inherited = inherited_environment()

    def run(
        cwd: Path,
        *arguments: object,
        launcher: Sequence[str] = (),
        limits: Mapping[str, Any] | None = None,
        **environment: str,
    ) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [*launcher, str(COMMAND), *map(str, arguments)],
            cwd=cwd,
            env={**inherited, "HOME": str(home), "OMP_NUM_THREADS": "1", "PYTHONPATH": PYTHONPATH, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=240,
            **(limits or {}),
        )

    return run


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of this checkout's files."""
    copy = tmp_path / "twofold"
    for folder in (*FOLDERS, "docs", "tests"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("Makefile", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, copy)
    return copy


@pytest.fixture
def typed(checkout: Path, home: Path) -> Callable[..., str]:
    """`typed("a shell command")` runs it in the copied checkout; returns its output, and fails if it fails."""
    inherited = inherited_environment()
    path = f"{COMMAND.parent}{os.pathsep}{os.environ['PATH']}"
    own = {"HOME": str(home), "PATH": path, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}

    def run(command: str, given: str = "") -> str:
        done = subprocess.run(
            command,
            shell=True,
            cwd=checkout,
            env={**inherited, **own},
            input=given,
            capture_output=True,
            text=True,
            timeout=900,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    return run


def found(config: Any, keys: list[str]) -> Any:
    """The value of a setting, named as on the command line: without `init_args`, of the last callback."""
    for key in keys:
        config = config[-1] if isinstance(config, list) else config
        config = config.get("init_args", config) if key not in config else config
        config = config[key]
    return config
