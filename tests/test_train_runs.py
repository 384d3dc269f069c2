"""Training runs in subprocesses: finished ones are skipped, interrupted ones resume, failures and signals stop all."""

import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from signals import sent_when

from scripts import train_runs
from scripts.train_runs import Job, Training, train
from twofold.errors import Stopped, UsageError

STAND_IN = Path(__file__).with_name("stand_in_training.py")
JOBS = [Job("quick", "gan", ("--x=1", "--steps=3")), Job("slow", "gan", ("--x=2", "--steps=4"))]


@pytest.fixture(autouse=True)
def _stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_runs, "COMMAND", (sys.executable, str(STAND_IN)))
    monkeypatch.setattr(train_runs, "POLL_SECONDS", 0.01)


def starts(folder: Path, job: Job) -> list[str]:
    return (folder / job.folder / "starts.txt").read_text().splitlines()


def test_finished_runs_are_not_repeated(tmp_path: Path) -> None:
    for _ in range(2):
        runs = train(JOBS, tmp_path)
        assert {name: run.step for name, run in runs.items()} == {"quick": 3, "slow": 4}
        assert [len(starts(tmp_path, job)) for job in JOBS] == [1, 1]


def test_a_changed_setting_is_another_run_but_a_local_argument_is_not(tmp_path: Path) -> None:
    train(JOBS[:1], tmp_path)
    moved = replace(JOBS[0], local=("--root=elsewhere",))
    train([moved], tmp_path)
    assert len(starts(tmp_path, moved)) == 1
    changed = replace(JOBS[0], settings=("--x=7",))
    train([changed], tmp_path)
    assert starts(tmp_path, changed) != starts(tmp_path, JOBS[0])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_trainings_which_resume(tmp_path: Path, number: signal.Signals) -> None:
    job = Job("long", "gan", ("--x=2", "--steps=20", "--pause=0.05"), ("--root=here",))
    handler = signal.getsignal(number)
    with (
        pytest.raises(Stopped, match=f"stopped by {number.name}; run the same command again to resume"),
        sent_when(number, lambda: bool(list(tmp_path.glob("*/*/*/metrics.csv")))),
    ):
        train([job], tmp_path)
    assert signal.getsignal(number) == handler
    (table,) = tmp_path.glob("*/*/*/metrics.csv")
    before = table.read_text()
    time.sleep(0.2)
    assert table.read_text() == before
    train([job], tmp_path)
    assert table.read_text().startswith(before)
    assert starts(tmp_path, job)[1] == f"fit -c {table.with_name('config.yaml')} --ckpt_path last --root=here"


@pytest.mark.parametrize(
    ("does", "kind", "message"),
    [("refuses", UsageError, "quick: there is no setting --x here"), ("fails", RuntimeError, "quick: .* no luck")],
)
def test_a_failure_stops_the_others(tmp_path: Path, does: str, kind: type[Exception], message: str) -> None:
    bad = replace(JOBS[0], settings=("--x=1", f"--does={does}"))
    long = replace(JOBS[1], settings=("--x=2", "--steps=1000", "--pause=0.1"))
    with pytest.raises(kind, match=message):
        train([bad, long], tmp_path)
    assert not Training(tmp_path / long.folder, long.arguments).finished


def test_trainings_share_the_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_runs, "usable_cores", lambda: 8)
    monkeypatch.setattr(
        train_runs, "COMMAND", (sys.executable, "-c", "import os; print(os.environ['OMP_NUM_THREADS'])")
    )
    for wish, workers, expected in ((None, 1, "4"), (None, 2, "3"), (None, 4, "1"), (None, 16, "1"), ("5", 2, "5")):
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        if wish is not None:
            monkeypatch.setenv("OMP_NUM_THREADS", wish)
        train(JOBS[:1], tmp_path, workers)
        assert (tmp_path / JOBS[0].folder / "output.txt").read_text().strip() == expected


def test_an_exit_without_a_message_is_reported_by_its_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_runs, "COMMAND", (sys.executable, "-c", "exit(3)"))
    with pytest.raises(RuntimeError, match=r"quick: ended with exit code 3; see .*output.txt"):
        train(JOBS[:1], tmp_path)
