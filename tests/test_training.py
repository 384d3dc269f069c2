"""One training of a sweep: what is read of it while it writes, what it says when it ends, and that it ends with us."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from threading import Event

import pytest

from scripts import training
from scripts.training import Training, stopped_by_signals

ROOT = Path(__file__).parents[1]


@pytest.fixture
def begun(tmp_path: Path) -> Training:
    """A training whose run has logged three batches, and the metric twice."""
    run = tmp_path / "stand_in" / "20260101-000000-abcd"
    run.mkdir(parents=True)
    (run / "run.json").write_text(json.dumps({"id": run.name}))
    (run / "metrics.csv").write_text("step,epoch,loss,fid\n0,0,3.0,\n9,0,2.0,70.5\n19,0,1.0,60.25\n")
    return Training(tmp_path, ["fit"])


def test_a_metric_is_read_as_far_as_it_is_written(begun: Training) -> None:
    assert begun.logged("fid") == [70.5, 60.25]
    assert begun.batches("fid") == begun.batches("loss") == 20
    assert begun.metrics == ["loss", "fid"]
    assert begun.logged("nothing") == []
    assert begun.batches("nothing") == 0
    assert begun.run is not None
    with (begun.run.path / "metrics.csv").open("a") as table:
        table.write("29,0,0.5,5")
        table.flush()
        assert begun.logged("fid") == [70.5, 60.25], "the row is being written"
        table.write("0.125\n")
        table.flush()
        assert begun.logged("fid") == [70.5, 60.25, 50.125]


def test_how_far_it_is_stands_in_the_last_whole_row(begun: Training) -> None:
    assert begun.batches_trained == 20
    assert begun.run is not None
    table = begun.run.path / "metrics.csv"
    with table.open("a") as file:
        file.write("29,0,0.")
    assert begun.batches_trained == 20, "the row is being written"
    table.write_text("step,loss\n")
    assert begun.batches_trained == 0
    table.write_text("step,loss\n" + "".join(f"{n},1.5\n" for n in range(5000)))
    assert begun.batches_trained == 5000
    table.unlink()
    assert begun.batches_trained == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_noted_once_and_handled_as_before_afterwards(number: signal.Signals) -> None:
    before, stop = signal.getsignal(number), Event()
    with stopped_by_signals("anything", stop) as received:
        assert not stop.is_set()
        os.kill(os.getpid(), number)
        assert stop.wait(5)
        assert signal.getsignal(number) == signal.SIG_DFL, "a second one ends the process"
    assert received == [number]
    assert signal.getsignal(number) == before


def test_before_a_run_begins_there_is_nothing(tmp_path: Path) -> None:
    nothing = Training(tmp_path / "trial", [])
    assert (nothing.run, nothing.exit_code, nothing.logged("loss"), nothing.metrics) == (None, None, [], [])
    nothing.stop()


def test_a_training_says_why_it_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for code, exit_code, words in (
        ("print('twofold: first'); print('twofold: no luck'); print('bye'); exit(1)", 1, "no luck"),
        ("exit(3)", 3, "ended with exit code 3; see"),
        ("import os; os.kill(os.getpid(), 9)", 137, "ended by SIGKILL with exit code 137; see"),
    ):
        monkeypatch.setattr(training, "COMMAND", (sys.executable, "-c", code))
        one = Training(tmp_path, [])
        one.start()
        assert one._process is not None
        one._process.wait()
        assert one.exit_code == exit_code
        assert one.last_words.startswith(words)


def test_one_that_doesnt_stop_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    monkeypatch.setattr(training, "COMMAND", (sys.executable, "-c", deaf))
    monkeypatch.setattr(training, "SECONDS_TO_STOP", 0.2)
    one = Training(tmp_path, [])
    one.start()
    while not (tmp_path / training.LAST_WORDS).read_text():
        pass
    one.stop()
    assert one.exit_code == 137


DEAF = "signal.signal(15, signal.SIG_IGN), setattr(time, 'sleep', lambda seconds: None)"


@pytest.mark.parametrize(
    ("before", "work", "exit_code"),
    [("", "time.sleep(30)", -15), ("", "7", 7), (DEAF, "threading.Event().wait()", -9)],
)
def test_a_supervised_command_ends_with_its_parent(before: str, work: str, exit_code: int) -> None:
    """The parent's end of the pipe closes, or the command ends by itself before; one that is deaf is killed."""
    code = (
        "import runpy, signal, threading, time, twofold.main; "
        f"twofold.main.main = lambda: (({before}), print('works', flush=True), {work})[-1]; "
        "runpy.run_module('scripts.supervised', run_name='__main__')"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"works\n"
        if exit_code < 0:
            process.stdin.close()
        assert process.wait(20) == exit_code
