"""A run that was killed and resumed ends with the bits of one that was left alone."""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.bitwise_diff import differences

Twofold = Callable[..., "subprocess.CompletedProcess[str]"]
CONFIGS = Path(__file__).parents[2] / "configs"
KILLER = ("--trainer.callbacks+=killer.Killer", "--trainer.log_every_n_steps", "1")

# Epochs end within each run; the classifier's checkpoints fall on their ends, the others' lie within. All kills but the
# first hit a run that was already resumed.
CASES = {
    "palindrome_lstm": (
        "--data.batches_per_epoch 7 --data.batch_size 32 --trainer.max_steps 30 --checkpoint.every_n_train_steps 5 "
        "--trainer.callbacks+=callbacks.LengthCurriculum --trainer.callbacks.start 2 "
        "--trainer.callbacks.perfect_batches 3",
        ("step 18", "epoch 21", "step 27"),
    ),
    "gan": (
        "--data.source packaged --data.batch_size 800 --trainer.max_steps 11 --checkpoint.every_n_train_steps 3",
        ("step 4", "checkpoint 9"),
    ),
    "digit_classifier": (
        "--data.source packaged --trainer.limit_train_batches 4 --trainer.limit_val_batches 1 "
        "--trainer.max_steps 11 --checkpoint.every_n_train_steps 4",
        ("validation 4", "validation 8", "step 10"),
    ),
}


@pytest.mark.parametrize(
    "experiment", ["palindrome_lstm", "gan", pytest.param("digit_classifier", marks=pytest.mark.slow)]
)
def test_killed_and_resumed_is_bit_identical(tmp_path: Path, twofold: Twofold, experiment: str) -> None:
    options, kills = CASES[experiment]
    config = tmp_path / f"{experiment}.yaml"
    text = (CONFIGS / config.name).read_text()
    config.write_text(text.replace("every_n_batches: 500 }", "every_n_batches: 2 }"))
    command = ("fit", "-c", config, *options.split(), *KILLER)

    untouched = tmp_path / "untouched"
    untouched.mkdir()
    done = twofold(untouched, *command)
    assert done.returncode == 0, done.stderr
    [expected] = (untouched / "runs" / experiment).iterdir()

    touched = tmp_path / "touched"
    touched.mkdir()
    assert twofold(touched, *command, KILL=kills[0]).returncode == -signal.SIGKILL
    [folder] = (touched / "runs" / experiment).iterdir()
    for kill in kills[1:]:
        assert twofold(touched, *going_on(folder), KILL=kill).returncode == -signal.SIGKILL

    # A run may be moved between its parts.
    moved = touched / "elsewhere" / "renamed"
    shutil.copytree(folder, moved)
    shutil.rmtree(folder)
    resumed = twofold(touched, *going_on(moved))
    assert (resumed.returncode, resumed.stderr) == (0, "")
    assert differences(expected, moved) == []
    assert len(pictures(moved)) == (7 if experiment == "gan" else 0)
    ids = {path.name.split("-", 3)[-1] for path in moved.glob("wandb/offline-run-*")}
    assert ids == {folder.name}, "all parts have one W&B id"


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), pytest.param("SIGINT", 130, marks=pytest.mark.slow)])
def test_a_run_that_is_asked_to_stop_saves_and_says_how_to_go_on(
    tmp_path: Path, twofold: Twofold, name: str, code: int
) -> None:
    command = ("fit", "-c", CONFIGS / "palindrome_lstm.yaml", "--trainer.max_steps", "12", *KILLER)
    (tmp_path / "untouched").mkdir()
    assert twofold(tmp_path / "untouched", *command).returncode == 0
    [expected] = (tmp_path / "untouched" / "runs" / "palindrome_lstm").iterdir()

    stopped = twofold(tmp_path, *command, KILL="step 7", KILL_BY=name)
    [folder] = (tmp_path / "runs" / "palindrome_lstm").iterdir()
    assert stopped.returncode == code
    first, last = stopped.stderr.strip().splitlines()
    assert first == "twofold: stopping after this batch; Ctrl-C ends it at once"
    go_on = f"twofold fit -c runs/palindrome_lstm/{folder.name}/config.yaml --ckpt_path last"
    assert last == f"twofold: stopped by {name} after 8 batches; resume with: {go_on}"
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == ["last.ckpt", "step=000008.ckpt"]
    assert "interrupted" in twofold(tmp_path, "runs").stdout

    resumed = twofold(tmp_path, *go_on.split()[1:])
    assert (resumed.returncode, resumed.stderr) == (0, "")
    assert differences(expected, folder) == []


@pytest.mark.slow
def test_a_second_ctrl_c_ends_a_run_at_once(tmp_path: Path, twofold: Twofold) -> None:
    command = ("fit", "-c", CONFIGS / "palindrome_lstm.yaml", "--trainer.max_steps", "12", *KILLER)
    assert twofold(tmp_path, *command, KILL="step 7", KILL_BY="SIGTERM SIGINT").returncode == -signal.SIGINT
    [folder] = (tmp_path / "runs" / "palindrome_lstm").iterdir()
    assert not list(folder.glob("checkpoints/*"))


@pytest.mark.slow
def test_slurm_s_signal_queues_the_job_again_where_it_goes_on(tmp_path: Path, twofold: Twofold) -> None:
    scontrol = tmp_path / "bin" / "scontrol"
    scontrol.parent.mkdir()
    scontrol.write_text('#!/bin/sh\necho "$@" > requeued\n')
    scontrol.chmod(0o755)
    command = ("fit", "-c", CONFIGS / "palindrome_lstm.yaml", "--trainer.max_steps", "12", *KILLER)
    slurm = {"PATH": f"{scontrol.parent}:{os.environ['PATH']}"}
    slurm |= {f"SLURM_{name}": value for name, value in SLURM.items()}

    stopped = twofold(tmp_path, *command, KILL="step 7", KILL_BY="SIGUSR1", **slurm)
    assert stopped.returncode == 128 + signal.SIGUSR1, stopped.stderr
    assert (tmp_path / "requeued").read_text() == "requeue 321\n"
    other = twofold(tmp_path, *command, "--seed_everything", 2, **slurm)  # of the same job, and not meant
    assert other.returncode == 0, other.stderr
    runs = sorted((tmp_path / "runs" / "palindrome_lstm").iterdir())
    assert [steps_in_checkpoint(run) for run in runs] == [8, 12]

    again = twofold(tmp_path, *command, SLURM_RESTART_COUNT="1", **slurm)
    assert again.returncode == 0, again.stderr
    assert sorted((tmp_path / "runs" / "palindrome_lstm").iterdir()) == runs
    assert [steps_in_checkpoint(run) for run in runs] == [12, 12]
    assert "finished" in twofold(tmp_path, *command, SLURM_RESTART_COUNT="1", **slurm).stdout


SLURM = {"JOB_ID": "321", "NTASKS": "1", "JOB_NAME": "memory", "PROCID": "0", "LOCALID": "0", "NODEID": "0"}


def going_on(folder: Path) -> tuple[object, ...]:
    return ("fit", "-c", folder / "config.yaml", "--ckpt_path", "last")


def pictures(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*.png") if "wandb" not in path.parts}


def steps_in_checkpoint(folder: Path) -> int:
    return max(int(re.findall(r"\d+", path.stem)[0]) for path in (folder / "checkpoints").glob("step=*.ckpt"))
