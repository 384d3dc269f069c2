"""A run that is killed and resumed ends with the bits of an undisturbed one."""

import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.bitwise_diff import differences

Twofold = Callable[..., "subprocess.CompletedProcess[str]"]
CONFIGS = Path(__file__).parents[2] / "configs"
KILLER = "--trainer.callbacks+=killer.Killer --trainer.log_every_n_steps 1"
# Epochs end within each run; the classifier's checkpoints are at their ends, the others' are not.
OPTIONS = {
    "palindrome_lstm": "--data.batches_per_epoch 7 --data.batch_size 32 --trainer.max_steps 30 "
    "--checkpoint.every_n_train_steps 5 --trainer.callbacks+=callbacks.LengthCurriculum --trainer.callbacks.start 2 "
    "--trainer.callbacks.perfect_batches 3",
    "gan": "--data.source packaged --data.batch_size 32 --trainer.limit_train_batches 5 --trainer.max_steps 11 "
    "--checkpoint.every_n_train_steps 3",
    "digit_classifier": "--data.source packaged --trainer.limit_train_batches 4 --trainer.limit_val_batches 1 "
    "--trainer.max_steps 11 --checkpoint.every_n_train_steps 4",
}


@pytest.mark.parametrize(
    ("experiment", "kills"),
    [
        ("palindrome_lstm", ["step 18"]),
        ("gan", ["checkpoint 9"]),
        pytest.param("palindrome_lstm", ["step 18", "epoch 21", "step 27"], marks=pytest.mark.slow),
        pytest.param("gan", ["step 4", "checkpoint 9"], marks=pytest.mark.slow),
        pytest.param("digit_classifier", ["validation 4", "validation 8", "step 10"], marks=pytest.mark.slow),
    ],
)
def test_killed_and_resumed_run_ends_with_the_same_bits(
    tmp_path: Path, twofold: Twofold, in_process: Callable[..., tuple[int, str, str]], experiment: str, kills: list[str]
) -> None:
    config = tmp_path / f"{experiment}.yaml"
    text = (CONFIGS / config.name).read_text().replace("final_samples: 10000", "final_samples: 50")
    config.write_text(text.replace("every_n_batches: 500 }", "every_n_batches: 2 }"))
    command = ("fit", "-c", config, *OPTIONS[experiment].split(), *KILLER.split())
    assert in_process("", *command)[0] == 0
    [undisturbed] = (tmp_path / "runs" / experiment).iterdir()

    killed = tmp_path / "killed"
    killed.mkdir()
    for kill in kills:
        assert twofold(killed, *command, KILL=kill).returncode == -signal.SIGKILL
        [folder] = (killed / "runs" / experiment).iterdir()
        command = ("fit", "-c", folder / "config.yaml", "--ckpt_path", "last")
    moved = killed / "moved"
    shutil.move(folder, moved)
    resumed = twofold(killed, "fit", "-c", moved / "config.yaml", "--ckpt_path", "last")
    assert (resumed.returncode, resumed.stderr) == (0, "")
    assert differences(undisturbed, moved) == []
    assert len(list(moved.glob("images/*.png"))) == (6 if experiment == "gan" else 0)
    assert {path.name.split("-", 3)[-1] for path in moved.glob("wandb/offline-run-*")} == {folder.name}


@pytest.mark.slow
def test_second_ctrl_c_ends_a_run_at_once(tmp_path: Path, twofold: Twofold) -> None:
    command = ("fit", "-c", CONFIGS / "palindrome_lstm.yaml", "--trainer.max_steps", "12", *KILLER.split())
    stopped = twofold(tmp_path, *command, KILL="step 7", KILL_BY="SIGTERM SIGINT")
    assert stopped.returncode == -signal.SIGINT
    assert stopped.stderr == "\ntwofold: stopping after this batch; Ctrl-C ends it at once\n"
    assert not list(tmp_path.glob("runs/*/*/checkpoints/*"))
