"""Runs the real command in processes of their own, on a machine where nobody ever logged in to W&B."""

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

COMMAND = Path(sys.executable).with_name("twofold")
TESTS = Path(__file__).parent
ROOT = TESTS.parents[1]
# This checkout first: another may be the one that is installed.
PYTHONPATH = os.pathsep.join(map(str, (ROOT, TESTS)))
PACKAGES = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
FOLDERS = [package for package in PACKAGES if "." not in package]  # the others lie within
Twofold = Callable[..., "subprocess.CompletedProcess[str]"]


def inherited_environment() -> dict[str, str]:
    """Without what would change what a command does: settings of W&B and ours, and make's word that it started this."""
    unwanted = ("WANDB_", "PL_", "TWOFOLD", "MAKE", "MFLAGS")
    return {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of somebody who never logged in."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def twofold(home: Path) -> Twofold:
    """`twofold(cwd, *arguments, **environment)`; runs go to `cwd/runs`; `limits` go to `subprocess.run`."""
    inherited = inherited_environment()

    def run(
        cwd: Path, *arguments: object, limits: Mapping[str, Any] | None = None, **environment: str
    ) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [COMMAND, *map(str, arguments)],
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
    """A copy of this one's files, without runs and repository."""
    copy = tmp_path / "twofold"
    for folder in (*FOLDERS, "docs", "tests"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / file, copy)
    return copy


@pytest.fixture
def typed(checkout: Path, home: Path) -> Callable[..., str]:
    """`typed("a command of the shell")` in the copy, where it has to succeed; what it said."""
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
    """The setting that is typed so, without `init_args`; of several callbacks the last one's."""
    for key in keys:
        config = config[-1] if isinstance(config, list) else config
        config = config.get("init_args", config) if key not in config else config
        config = config[key]
    return config
