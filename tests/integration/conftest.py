"""Runs the real command in processes of their own, on a machine where nobody ever logged in to W&B."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

COMMAND = Path(sys.executable).with_name("twofold")
TESTS = Path(__file__).parent
# This checkout first: another may be the one that is installed.
PYTHONPATH = os.pathsep.join(map(str, (TESTS.parents[1], TESTS)))
Twofold = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def twofold(tmp_path_factory: pytest.TempPathFactory) -> Twofold:
    """`twofold(cwd, *arguments, **environment)`; runs go to `cwd/runs`; `limits` go to `subprocess.run`."""
    home = tmp_path_factory.mktemp("home")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("WANDB_", "PL_", "TWOFOLD"))}

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
