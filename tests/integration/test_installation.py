"""`pip install .` in an environment of its own: the command runs in any folder, without the checkout."""

import json
import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml


@pytest.fixture
def environment(checkout: Path, tmp_path: Path) -> Path:
    """A virtual environment with this project, built without git, and with the libraries of the present one."""
    folder = tmp_path / "environment"
    venv.create(folder, symlinks=True)
    (site_packages(folder) / "libraries.pth").write_text(sysconfig.get_path("purelib"))
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python")]
    done = subprocess.run([*pip, "install", "--no-deps", str(checkout)], capture_output=True, text=True)
    if "No matching distribution found for setuptools" in done.stderr:
        pytest.skip("pip reaches no package index, from which it takes setuptools")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def run(environment: Path, home: Path, tmp_path: Path) -> Callable[[str], str]:
    """`run("twofold …")` runs a program of the environment in an empty folder; returns what it prints."""
    (tmp_path / "empty").mkdir()
    unwanted = ("WANDB_", "PL_", "TWOFOLD", "PYTHON")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}

    def run(command: str) -> str:
        program, *arguments = command.split()
        done = subprocess.run(
            [environment / "bin" / program, *arguments],
            cwd=tmp_path / "empty",
            env={**inherited, "HOME": str(home), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    return run


def site_packages(environment: Path) -> Path:
    return Path(sysconfig.get_path("purelib", vars={"base": str(environment)}))


def files(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"}


@pytest.mark.slow
def test_an_installed_command_trains_in_any_folder(
    environment: Path, checkout: Path, run: Callable[[str], str], tmp_path: Path
) -> None:
    for package in {path.name for path in checkout.iterdir() if path.is_dir()} - {"docs", "tests", "build"}:
        if not package.endswith(".egg-info"):
            assert files(site_packages(environment) / package) == files(checkout / package)

    printed = run("twofold fit -c gan --data.source packaged --trainer.max_steps 2")
    [folder] = (tmp_path / "empty" / "runs" / "gan").iterdir()
    assert printed.endswith(f"results in runs/gan/{folder.name}\n")
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["seed_everything"] == 1
    loggers = [logger["class_path"] for logger in config["trainer"]["logger"]]
    assert loggers == ["twofold.loggers.CSVLogger", "twofold.loggers.TwofoldWandbLogger"]
    assert "final/ema/fid" in (folder / "metrics.csv").read_text()
    assert json.loads((folder / "quality.json").read_text())["ema"]["fid"] > 0
    assert (folder / "interpolation.png").exists()
    assert list((folder / "wandb").glob("offline-run-*"))

    assert run(f"python -m scripts.sample runs/gan/{folder.name}/mnist_generator.pth --n 4 --out x.png") == "x.png\n"
    assert run("python -m scripts.report --only kernels").endswith("report/figures/lstm_kernels.svg\n")
