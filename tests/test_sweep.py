"""Searching by Optuna: what is kept, what a stop or a kill costs, what ends early, and what is refused."""

import csv
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from filelock import FileLock
from optuna.trial import FrozenTrial, TrialState

from scripts import sweep, training
from scripts.search_space import read_sweep
from scripts.sweep import main, open_study

STAND_IN = Path(__file__).with_name("stand_in_training.py")
Script = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def _stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "COMMAND", (sys.executable, str(STAND_IN)))
    monkeypatch.setattr(sweep, "POLL", 0.01)
    monkeypatch.delenv("TWOFOLD_RUNS", raising=False)


@pytest.fixture
def searched(script: Script) -> Callable[..., tuple[int, str, str]]:
    """`searched(trials, "--option", …, steps=5)` runs the sweep in `s.yaml`, whose command has these options."""

    def run(trials: int, *more: object, early_terminate: Any = None, **options: object) -> tuple[int, str, str]:
        space = {"x": {"min": 0.0, "max": 1.0}}
        given = [f"--{name}={value}" for name, value in options.items()]
        content = {
            "command": ["twofold", "fit", "-c", "any.yaml", "${args}", *given],
            "method": "random",
            "metric": {"name": "score", "goal": "minimize"},
            "parameters": space,
            "early_terminate": early_terminate,
        }
        Path("s.yaml").write_text(yaml.safe_dump(content))
        return script(main, "s.yaml", "--trials", trials, "--storage", "s.journal", *more)

    return run


def trials(storage: str = "s.journal") -> list[FrozenTrial]:
    return open_study(read_sweep(Path("s.yaml")), Path(storage)).trials


def rows(table: str = "s.csv") -> list[dict[str, str]]:
    with Path(table).open(newline="") as file:
        return list(csv.DictReader(file))


def starts(number: int) -> list[str]:
    """The commands by which a trial was started, one after the other."""
    return Path(f"s/trial_{number:04d}/starts.txt").read_text().splitlines()


@pytest.mark.parametrize("storage", ["s.journal", "deep/er/s.db"])
def test_a_sweep_leaves_a_table_and_a_picture_and_can_be_made_longer(searched: Script, storage: str) -> None:
    code, said, complained = searched(3, "--workers", 2, "--storage", storage)
    assert (code, complained) == (0, "")
    before = trials(storage)
    table = str(Path(storage).with_suffix(".csv"))
    best = min(before, key=lambda trial: trial.value or 0)
    assert f"best is trial {best.number} with score" in said
    assert f"twofold fit -c any.yaml --x={best.params['x']}" in said
    assert [row["state"] for row in rows(table)] == ["complete"] * 3
    assert [float(row["score"]) for row in rows(table)] == sorted(trial.params["x"] for trial in before)
    assert {row["batches"] for row in rows(table)} == {"5"}
    assert Path(storage).with_suffix(".png").read_bytes()[:4] == b"\x89PNG"

    assert searched(5, "--storage", storage)[0] == 0
    after = trials(storage)
    assert [trial.number for trial in after] == [0, 1, 2, 3, 4]
    assert after[:3] == before
    assert len(rows(table)) == 5


def test_two_workers_train_at_once(searched: Script) -> None:
    assert searched(2, "--workers", 2, pause=0.2)[0] == 0
    (first, second) = trials()
    assert second.datetime_start is not None
    assert first.datetime_complete is not None
    assert second.datetime_start < first.datetime_complete


def test_hopeless_trials_end_early(searched: Script) -> None:
    rule = {"type": "hyperband", "min_iter": 1, "eta": 2}
    code, said, _ = searched(8, early_terminate=rule, steps=20, pause=0.04)
    assert code == 0
    pruned = [trial for trial in trials() if trial.state == TrialState.PRUNED]
    complete = [trial for trial in trials() if trial.state == TrialState.COMPLETE]
    assert len(pruned) + len(complete) == 8
    assert pruned, "of eight, one at least is worse than the one before"
    best = min(trial.params["x"] for trial in complete)
    for trial in pruned:
        assert trial.params["x"] > best
        assert len(trial.intermediate_values) in (1, 2, 4, 8, 16)
        table = Path(f"s/trial_{trial.number:04d}/stand_in/20260101-000000-abcd/metrics.csv")
        assert len(table.read_text().splitlines()) < 21, "the training was ended"
        assert f"trial {trial.number} pruned after" in said
    assert [row["state"] for row in rows()] == ["complete"] * len(complete) + ["pruned"] * len(pruned)


@contextmanager
def sent_when(number: signal.Signals, condition: Callable[[], bool]) -> Iterator[None]:
    """Sends this process the signal as soon as the condition holds."""

    def send() -> None:
        while not condition():
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    yield
    thread.join()


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_sweep_that_is_stopped_goes_on_with_the_same_trials(
    searched: Script, number: signal.Signals, exit_code: int
) -> None:
    def both_train() -> bool:
        return len(list(Path("s").glob("*/*/*/metrics.csv"))) == 3 and len(rows()) == 1

    handlers = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    assert searched(1, steps=5, pause=0.1)[0] == 0
    with sent_when(number, both_train):
        code, _, complained = searched(4, "--workers", 2, steps=5, pause=0.1)
    assert code == exit_code
    assert f"sweep: stopped by {number.name}; the same command goes on" in complained
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == handlers
    stopped = trials()
    assert [trial.state for trial in stopped] == [TrialState.COMPLETE, TrialState.RUNNING, TrialState.RUNNING]
    reached = {path: path.read_text() for path in Path("s").glob("*/*/*/metrics.csv")}
    time.sleep(0.3)
    assert {path: path.read_text() for path in reached} == reached, "no training goes on alone"

    assert searched(4, "--workers", 2, steps=5, pause=0.1)[0] == 0
    assert [trial.state for trial in trials()] == [TrialState.COMPLETE] * 4
    assert [trial.params for trial in trials()][:3] == [trial.params for trial in stopped]
    assert trials()[0] == stopped[0]
    assert [len(starts(n)) for n in range(4)] == [1, 2, 2, 1]
    assert starts(1)[1].endswith("/config.yaml --ckpt_path last")
    assert all(path.read_text().startswith(text) for path, text in reached.items()), "they went on where they were"
    assert len(rows()) == 4


def test_a_trial_that_was_killed_before_it_began_is_tried_again(searched: Script) -> None:
    assert searched(1)[0] == 0
    study = open_study(read_sweep(Path("s.yaml")), Path("s.journal"))
    study.ask()  # killed before its parameters were drawn
    study.ask({"x": optuna.distributions.FloatDistribution(0.0, 1.0)})
    Path("s/trial_0002/stand_in/20260101-000000-wxyz").mkdir(parents=True)  # … before its config was there
    drawn = study.trials[2].params
    assert searched(3)[0] == 0
    assert [trial.state for trial in trials()] == [TrialState.COMPLETE] * 3
    assert trials()[2].params == drawn
    assert starts(2) == [f"fit -c any.yaml --x={drawn['x']}"]


def test_a_training_that_outlives_its_sweep_is_waited_for(searched: Script) -> None:
    assert searched(1)[0] == 0
    study = open_study(read_sweep(Path("s.yaml")), Path("s.journal"))
    study.ask({"x": optuna.distributions.FloatDistribution(0.0, 1.0)})
    run = Path("s/trial_0001/stand_in/20260101-000000-abcd")
    run.mkdir(parents=True)
    (run / "config.yaml").write_text('{"x": "0.5"}')
    (run / "run.json").write_text('{"id": "20260101-000000-abcd"}')
    lock = FileLock(run / ".lock", thread_local=False)
    lock.acquire()
    released = threading.Timer(0.5, lock.release)
    began = time.monotonic()
    released.start()
    assert searched(2)[0] == 0
    assert time.monotonic() - began > 0.5
    assert len(starts(1)) == 1
    assert trials()[1].value == 0.5


@pytest.mark.parametrize(
    ("does", "complaint"),
    [("fails", "the run failed: no luck"), ("diverges", "score ended as nan")],
)
def test_failed_trials_are_kept_and_dont_stop_the_sweep(searched: Script, does: str, complaint: str) -> None:
    code, said, _ = searched(2, does=does)
    assert code == 0
    assert [trial.state for trial in trials()] == [TrialState.FAIL] * 2
    assert [(row["state"], row["score"], row["complaint"]) for row in rows()] == [("fail", "", complaint)] * 2
    assert f"trial 1 fail after {5 if does == 'diverges' else 0} batches: {complaint}" in said
    assert "no trial was trained to the end" in said
    assert Path("s.png").exists()


@pytest.mark.parametrize(
    ("does", "told"),
    [
        ("refuses", "sweep: trial 0: there is no setting --x here\n"),
        ("silent", "score was never logged, but other; train longer, log it more often, or write another metric.name"),
    ],
)
def test_the_first_trials_mistake_ends_the_sweep_and_leaves_room_for_a_better_one(
    searched: Script, does: str, told: str
) -> None:
    code, said, complained = searched(9, "--workers", 1, does=does)
    assert (code, said) == (2, "")
    assert told in complained
    assert not Path("s").exists()
    assert not Path("s.csv").exists()
    assert not Path("s.png").exists()
    assert searched(1, does="well")[0] == 0
    assert [trial.number for trial in trials()] == [0]


def test_a_later_trial_that_is_refused_is_a_failure(searched: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    assert searched(1)[0] == 0
    monkeypatch.setenv("DOES", "refuses")
    assert searched(3, "--workers", 2)[0] == 0
    assert [trial.state.name for trial in trials()] == ["COMPLETE", "FAIL", "FAIL"]
    assert {row["complaint"] for row in rows()} == {"", "there is no setting --x here"}


def test_more_options_go_to_every_trial_and_count_as_part_of_the_sweep(searched: Script) -> None:
    assert searched(1, "--", "--steps=3")[0] == 0
    assert starts(0)[0].split()[-1] == "--steps=3"
    assert rows()[0]["batches"] == "3"
    code, _, complained = searched(2)
    assert code == 2
    assert "holds a sweep in which command was fit -c any.yaml ${args} --steps=3, and here it is fit -c" in complained


def test_a_storage_of_another_space_is_refused(searched: Script, script: Script) -> None:
    assert searched(1)[0] == 0
    text = Path("s.yaml").read_text()
    for old, new, told in (
        ("max: 1.0", "max: 2.0", "in which x was {"),
        ("goal: minimize", "goal: maximize", "in which goal was minimize, and here it is maximize; write another"),
        ("name: score", "name: val/loss", "in which metric was score, and here it is val/loss"),
        ("\n  x:", "\n  y: {value: 1}\n  x:", "in which y was not searched"),
    ):
        assert old in text
        Path("other.yaml").write_text(text.replace(old, new))
        code, _, complained = script(main, "other.yaml", "--storage", "s.journal")
        assert code == 2
        assert told in complained
    Path("other.yaml").write_text(text.replace("method: random", "method: bayes"))
    assert script(main, "other.yaml", "--storage", "s.journal", "--trials", 2)[0] == 0, "how is drawn may change"
    assert len(trials()) == 2


def test_folders_that_the_storage_doesnt_know_are_left_alone(searched: Script) -> None:
    assert searched(1)[0] == 0
    Path("s.journal").unlink()
    code, _, complained = searched(1)
    assert code == 2
    assert "s holds trials of another sweep; move it away, or write another --storage" in complained
    assert Path("s/trial_0000/starts.txt").exists()


def test_one_sweep_at_a_time_works_with_a_storage(searched: Script) -> None:
    with FileLock(".s.journal.in_use"):
        code, _, complained = searched(1)
    assert code == 2
    assert "another sweep works with s.journal; wait for it or end it first" in complained


def test_storages_of_something_else_are_refused_and_stay_as_they_are(searched: Script) -> None:
    for name in ("a.db", "a.journal"):
        Path(name).write_text("a diary, dear reader\n")
        code, _, complained = searched(1, "--storage", name)
        assert code == 2, complained
        assert f"--storage {name} can't be used: " in complained
        assert complained.count("\n") == 1
        assert Path(name).read_text() == "a diary, dear reader\n"
    optuna.create_study(storage="sqlite:///mine.db", study_name="mine")
    code, _, complained = searched(1, "--storage", "mine.db")
    assert code == 2
    assert "mine.db holds studies that scripts.sweep didn't make; write another file" in complained


def test_what_cant_be_meant_is_refused(refuses: Callable[..., None], searched: Script) -> None:
    assert searched(1)[0] == 0
    Path("no_sweep.yaml").write_text("experiment: gan\n")
    Path("folder.db").mkdir()
    Path("file").touch()
    refuses(
        main,
        [
            ("", "the following arguments are required: sweep"),
            ("nowhere.yaml", "there is no sweep file nowhere.yaml; `ls configs/sweeps` shows some"),
            ("no_sweep.yaml", "no_sweep.yaml is no sweep file, for it lacks command"),
            ("s.yaml --trials 0", "--trials is 0; write 1 or more"),
            ("s.yaml --workers 0", "--workers is 0; write 1 or more"),
            ("s.yaml --trials many", "--trials can't be 'many'; write a whole number"),
            ("s.yaml --trial 3", "there is no option --trial here; did you mean --trials?"),
            ("s.yaml --storage s.sqlite", "--storage can't be s.sqlite; write a file that ends in .db or .journal"),
            ("s.yaml --storage folder.db", "--storage folder.db is a folder; write a file's path"),
            ("s.yaml --storage file/s.db", "--storage file/s.db can't be written"),
            ("s.yaml --storage /proc/s.db", "--storage /proc/s.db can't be written"),
            ("s.yaml --data.source packaged", "there is no option --data.source here"),
        ],
    )
