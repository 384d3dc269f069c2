"""A disk that is full or refuses to be written ends a run in one line at most, and never costs what was good."""

import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from twofold.run_folder import RunFolder

Twofold = Callable[..., "subprocess.CompletedProcess[str]"]
CONFIG = Path(__file__).parents[2] / "configs" / "palindrome_lstm.yaml"
FIT = ("fit", "-c", CONFIG, "--checkpoint.every_n_train_steps", "5", "--trainer.log_every_n_steps", "1")


def only_run(folder: Path) -> RunFolder:
    [run] = (folder / "runs").glob("*/*")
    return RunFolder(run)


def full_after(size: int) -> dict[str, Any]:
    """For a process whose files can't grow beyond so many bytes."""
    return {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="limits of files are Unix's")
def test_a_checkpoint_that_finds_no_room_ends_the_run_and_the_last_good_one_stays(
    tmp_path: Path, twofold: Twofold
) -> None:
    whole = tmp_path / "whole"
    whole.mkdir()
    assert twofold(whole, *FIT, "--trainer.max_steps", 17).returncode == 0
    assert twofold(tmp_path, *FIT, "--trainer.max_steps", 7).returncode == 0
    run = only_run(tmp_path)
    go_on = ("fit", "-c", run.config, "--ckpt_path", "last", "--trainer.max_steps", 17)
    before = {path.name: path.read_bytes() for path in (run.path / "checkpoints").iterdir()}
    room = max(map(len, before.values())) // 2

    full = twofold(tmp_path, *go_on, limits=full_after(room), WANDB_MODE="disabled")
    assert full.returncode == 1
    [complaint] = full.stderr.strip().splitlines()
    assert "checkpoints/.step=000010.ckpt.part: File too large" in complaint
    assert f"the last good checkpoint is {run.path}/checkpoints/step=000007.ckpt; once that is solved" in complaint
    assert f"resume with: twofold fit -c {run.config} --ckpt_path last" in complaint
    assert {path.name: path.read_bytes() for path in (run.path / "checkpoints").iterdir()} == before
    assert run.facts["state"] == "failed"

    assert twofold(tmp_path, *go_on).returncode == 0
    ended, expected = (
        torch.load(folder.path / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for folder in (run, only_run(whole))
    )
    assert all(torch.equal(ended[name], tensor) for name, tensor in expected.items())
    assert (run.path / "metrics.csv").read_text() == (only_run(whole).path / "metrics.csv").read_text()
