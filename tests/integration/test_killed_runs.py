"""A run that was killed and resumed ends with the bits of one that was left alone."""

import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

Twofold = Callable[..., "subprocess.CompletedProcess[str]"]
CONFIGS = Path(__file__).parents[2] / "configs"
KILLER = ("--trainer.callbacks+=killer.Killer", "--trainer.log_every_n_steps", "1")

# Epochs end within each run; the classifier's checkpoints fall on their ends, the others' lie within. The second kill
# of each hits a run that was already resumed.
CASES = {
    "palindrome_lstm": (
        "--data.batches_per_epoch 7 --data.batch_size 32 --trainer.max_steps 30 --checkpoint.every_n_batches 5 "
        "--trainer.callbacks+=callbacks.LengthCurriculum --trainer.callbacks.start 2 "
        "--trainer.callbacks.perfect_batches 3",
        (18, 27),
    ),
    "gan": (
        "--data.source packaged --data.batch_size 800 --trainer.max_steps 11 --checkpoint.every_n_batches 3",
        (4, 9),
    ),
    "digit_classifier": (
        "--data.source packaged --trainer.limit_train_batches 4 --trainer.limit_val_batches 1 "
        "--trainer.max_steps 11 --checkpoint.every_n_batches 4",
        (6, 10),
    ),
}


@pytest.mark.parametrize("experiment", CASES)
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
    killed = twofold(touched, *command, KILL_AT_STEP=str(kills[0]))
    assert killed.returncode == -signal.SIGKILL
    [folder] = (touched / "runs" / experiment).iterdir()
    resume = ("fit", "-c", folder / "config.yaml", "--ckpt_path", "last")
    assert twofold(touched, *resume, KILL_AT_STEP=str(kills[1])).returncode == -signal.SIGKILL
    assert steps_in(folder / "metrics.csv") >= steps_in_checkpoint(folder), "the kill should have left rows to cut"

    # A run may be moved between its parts.
    moved = touched / "elsewhere" / "renamed"
    shutil.copytree(folder, moved)
    shutil.rmtree(folder)
    resumed = twofold(touched, "fit", "-c", moved / "config.yaml", "--ckpt_path", "last")
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stderr == ""

    assert (moved / "metrics.csv").read_text() == (expected / "metrics.csv").read_text()
    pictures = [path.relative_to(expected) for path in expected.rglob("*.png") if "wandb" not in path.parts]
    assert len(pictures) == (7 if experiment == "gan" else 0)
    for picture in pictures:
        assert (moved / picture).read_bytes() == (expected / picture).read_bytes(), picture
    assert_same(state(expected), state(moved))
    ids = {path.name.split("-", 3)[-1] for path in moved.glob("wandb/offline-run-*")}
    assert ids == {folder.name}, "all parts have one W&B id"


def test_the_comparison_sees_one_bit() -> None:
    one = {"a": [torch.zeros(3), 1.0]}
    other = {"a": [torch.tensor([0.0, 0.0, 1e-45]), 1.0]}
    assert_same(one, one)
    with pytest.raises(AssertionError, match=r"a\.0"):
        assert_same(one, other)
    with pytest.raises(AssertionError, match=r"a\.1"):
        assert_same(one, {"a": [torch.zeros(3), 2.0]})


def steps_in(metrics: Path) -> int:
    return int(metrics.read_text().splitlines()[-1].split(",")[0])


def steps_in_checkpoint(folder: Path) -> int:
    return max(int(re.findall(r"\d+", path.stem)[0]) for path in (folder / "checkpoints").glob("step=*.ckpt"))


def state(folder: Path) -> dict[str, Any]:
    """What the last checkpoint holds of training; not where Lightning's loops say a resumed run began."""
    checkpoint = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    return {name: part for name, part in checkpoint.items() if name != "loops"}


def assert_same(expected: Any, actual: Any, where: str = "checkpoint") -> None:
    if isinstance(expected, torch.Tensor):
        assert expected.dtype == actual.dtype, where
        assert torch.equal(expected, actual), where
    elif isinstance(expected, dict):
        assert list(expected) == list(actual), where
        for key in expected:
            assert_same(expected[key], actual[key], f"{where}.{key}")
    elif isinstance(expected, list | tuple):
        assert len(expected) == len(actual), where
        for index, pair in enumerate(zip(expected, actual, strict=True)):
            assert_same(*pair, f"{where}.{index}")
    else:
        assert expected == actual, where
