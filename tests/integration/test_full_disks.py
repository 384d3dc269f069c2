"""A full disk ends a run in one line, with the last checkpoint intact."""

import resource
from pathlib import Path

import pytest
from integration.conftest import Twofold

from benchmarks.bitwise_diff import differences
from twofold.run_folder import RunFolder

FIT = "fit -c palindrome_lstm --checkpoint.every_n_train_steps 5 --trainer.log_every_n_steps 1 --trainer.max_steps"


def only_run(folder: Path) -> RunFolder:
    [run] = (folder / "runs").glob("*/*")
    return RunFolder(run)


@pytest.mark.slow
def test_checkpoint_without_room_ends_the_run_and_the_last_one_stays(tmp_path: Path, twofold: Twofold) -> None:
    whole = tmp_path / "whole"
    whole.mkdir()
    assert twofold(whole, *FIT.split(), 17).returncode == 0
    assert twofold(tmp_path, *FIT.split(), 7).returncode == 0
    run = only_run(tmp_path)
    resume = ("fit", "-c", run.config, "--ckpt_path", "last", "--trainer.max_steps", 17)
    before = {path.name: path.read_bytes() for path in (run.path / "checkpoints").iterdir()}
    room = max(map(len, before.values())) // 2
    limit = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))}

    full = twofold(tmp_path, *resume, limits=limit, WANDB_MODE="disabled")
    assert full.returncode == 1
    [complaint] = full.stderr.strip().splitlines()
    assert "checkpoints/.step=000010.ckpt.part: File too large" in complaint
    assert f"the last good checkpoint is {run.path}/checkpoints/step=000007.ckpt; once that is solved" in complaint
    assert f"resume with: twofold fit -c {run.config} --ckpt_path last" in complaint
    assert {path.name: path.read_bytes() for path in (run.path / "checkpoints").iterdir()} == before
    assert run.facts["state"] == "failed"

    assert twofold(tmp_path, *resume).returncode == 0
    assert differences(only_run(whole).path, run.path) == []
