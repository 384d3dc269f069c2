"""Ctrl-C, SIGTERM and SLURM's signal, which the command sends to itself while it trains in this process."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from benchmarks.bitwise_diff import differences

Twofold = Callable[..., tuple[int, str, str]]
LSTM = Path(__file__).parents[1] / "configs" / "palindrome_lstm.yaml"
FIT = f"fit -c {LSTM} --trainer.max_steps 12 --trainer.callbacks+=killer.Killer"


@pytest.mark.parametrize(("name", "exit_code"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_interrupted_run_resumes_to_the_same_bits(
    twofold: Twofold, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, exit_code: int
) -> None:
    assert twofold(FIT)[::2] == (0, "")
    [undisturbed] = (tmp_path / "runs" / "palindrome_lstm").iterdir()
    monkeypatch.setenv("TWOFOLD_RUNS", "interrupted")
    monkeypatch.setenv("KILL", "step 7")
    monkeypatch.setenv("KILL_BY", name)
    code, _, err = twofold(FIT)
    [folder] = (tmp_path / "interrupted" / "palindrome_lstm").iterdir()
    resume = f"fit -c interrupted/palindrome_lstm/{folder.name}/config.yaml --ckpt_path last"
    assert code == exit_code
    assert err.splitlines()[-1] == f"twofold: stopped by {name} after 8 batches; resume with: twofold {resume}"
    assert {path.name for path in (folder / "checkpoints").iterdir()} == {"last.ckpt", "step=000008.ckpt"}
    assert "interrupted" in twofold("runs")[1]

    assert twofold(resume)[::2] == (0, "")
    assert differences(undisturbed, folder) == []


def test_signal_after_the_last_batch_lets_the_run_end(
    twofold: Twofold, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[bytes] = []
    monkeypatch.setattr("twofold.signals.os.write", lambda file, text: written.append(text))
    monkeypatch.setenv("KILL", "end 12")
    monkeypatch.setenv("KILL_BY", "SIGINT")
    assert twofold(FIT)[0] == 0
    assert b"twofold: stopping when the last evaluation is done; Ctrl-C ends it at once\n" in written[0]
    [folder] = (tmp_path / "runs" / "palindrome_lstm").iterdir()
    assert "finished" in twofold("runs")[1]
    assert (folder / "checkpoints" / "step=000012.ckpt").exists()


def test_ctrl_c_interrupts_an_evaluation(twofold: Twofold, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert twofold(FIT)[0] == 0
    [folder] = (tmp_path / "runs" / "palindrome_lstm").iterdir()
    monkeypatch.setenv("KILL", "validation 0")
    monkeypatch.setenv("KILL_BY", "SIGINT")
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background process ignores it
    try:
        answer = twofold("validate", "-c", folder / "config.yaml", "--ckpt_path", "last")
    finally:
        signal.signal(signal.SIGINT, before)  # Lightning ignores further ones
    assert answer[::2] == (130, "twofold: interrupted\n")


def test_slurm_requeues_the_job_and_the_restarted_job_resumes(
    twofold: Twofold, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scontrol = tmp_path / "scontrol"
    scontrol.write_text('#!/bin/sh\necho "$@" > requeued\n')
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    for name, value in {"JOB_ID": 321, "NTASKS": 1, "JOB_NAME": "x", "PROCID": 0, "LOCALID": 0, "NODEID": 0}.items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))
    monkeypatch.setenv("KILL", "step 7")
    monkeypatch.setenv("KILL_BY", "SIGUSR1")
    assert twofold(FIT)[0] == 128 + signal.SIGUSR1
    assert (tmp_path / "requeued").read_text() == "requeue 321\n"
    monkeypatch.delenv("KILL")
    assert twofold(FIT, "--seed_everything", 2)[0] == 0  # another run of the same job
    runs = sorted((tmp_path / "runs" / "palindrome_lstm").iterdir())
    assert sorted(map(last_step, runs)) == [8, 12]

    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")  # as if this node had other cores
    code, _, complained = twofold(FIT)
    assert (code, complained) == (0, "twofold: threads was 1 and is now 2: the same bits are not promised\n")
    assert sorted((tmp_path / "runs" / "palindrome_lstm").iterdir()) == runs
    assert [last_step(run) for run in runs] == [12, 12]
    assert "finished" in twofold(FIT)[1]


def last_step(run: Path) -> int:
    return max(int(path.stem.removeprefix("step=")) for path in run.glob("checkpoints/step=*.ckpt"))
