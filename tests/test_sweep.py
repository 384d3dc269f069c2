"""Sweeps: results, pruning, stopping and resuming, failed trials, and what is refused."""

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from filelock import FileLock
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import RandomSampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState
from signals import sent_when

from scripts import train_runs
from scripts.sweep import main
from scripts.sweep_file import distribution, read_sweep
from twofold.errors import UsageError
from twofold.tables import read_rows

STAND_IN = Path(__file__).with_name("stand_in_training.py")
SWEEP = {
    "command": ["${env}", "${program}", "fit", "-c", "any.yaml", "--steps=5", "${args}"],
    "method": "random",
    "metric": {"name": "score", "goal": "minimize"},
    "parameters": {"x": {"min": 0.0, "max": 1.0}},
}
Script = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def _stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_runs, "COMMAND", (sys.executable, str(STAND_IN)))
    monkeypatch.setattr(train_runs, "POLL_SECONDS", 0.01)
    monkeypatch.delenv("TWOFOLD_RUNS", raising=False)


@pytest.fixture
def searched(script: Script) -> Callable[..., tuple[int, str, str]]:
    """`searched(trials, "--x=…")` runs the sweep with these arguments for every trial."""

    def run(trials: int, *more: str, workers: int = 1, **changed: Any) -> tuple[int, str, str]:
        Path("s.yaml").write_text(yaml.safe_dump({**SWEEP, **changed}))
        return script(main, "s.yaml", "--trials", trials, "--workers", workers, "--out", "s", "--", *more)

    return run


def study() -> optuna.Study:
    return optuna.load_study(study_name="sweep", storage=JournalStorage(JournalFileBackend("s/study.journal")))


def trials() -> list[FrozenTrial]:
    return study().trials


def with_state(state: TrialState) -> list[FrozenTrial]:
    return study().get_trials(states=(state,))


def test_a_sweep_writes_a_table_and_can_be_extended(searched: Script) -> None:
    code, out, err = searched(3, workers=2)
    assert (code, err) == (0, "")
    before = trials()
    best = min(before, key=lambda trial: trial.value or 0)
    assert f"best is trial {best.number} with score" in out
    assert f"twofold fit -c any.yaml --steps=5 --x={best.params['x']}\n" in out
    assert {path.name for path in Path("s").glob("*.png")} == {"history.png", "slices.png"}
    rows = read_rows(Path("s/trials.csv"))
    assert [(row["state"], row["user_attrs_batches"]) for row in rows] == [("COMPLETE", "5")] * 3
    assert [float(row["value"]) for row in rows] == [trial.params["x"] for trial in before]
    assert searched(5)[0] == 0
    assert len(trials()) == 5
    assert trials()[:3] == before


def test_worse_trials_are_pruned(searched: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scripts.sweep_file.RandomSampler", lambda: RandomSampler(seed=1))
    rule = {"type": "hyperband", "min_iter": 1, "eta": 2}
    code, out, _ = searched(6, "--steps=9", "--pause=0.05", early_terminate=rule)
    assert code == 0
    pruned, complete = with_state(TrialState.PRUNED), with_state(TrialState.COMPLETE)
    assert pruned
    assert len(pruned) + len(complete) == 6
    best = min(trial.params["x"] for trial in complete)
    for trial in pruned:
        assert trial.params["x"] > best
        assert f"trial {trial.number} pruned after" in out


def test_a_stopped_sweep_resumes_its_trials(searched: Script) -> None:
    assert searched(1, "--pause=0.1")[0] == 0
    with sent_when(signal.SIGTERM, lambda: len(list(Path("s").glob("*/*/*/metrics.csv"))) == 3):
        code, _, err = searched(4, "--pause=0.1", workers=2)
    assert (code, err) == (143, "sweep: stopped by SIGTERM; run the same command again to resume\n")
    stopped = trials()
    assert [trial.state for trial in stopped] == [TrialState.COMPLETE, TrialState.RUNNING, TrialState.RUNNING]
    tables = {path: path.read_text() for path in Path("s").glob("*/*/*/metrics.csv")}

    assert searched(4, "--pause=0.1", workers=2)[0] == 0
    complete = with_state(TrialState.COMPLETE)
    assert complete[0] == stopped[0]
    assert [trial.params for trial in complete][:3] == [trial.params for trial in stopped]
    starts = [Path(f"s/trial_000{n}/starts.txt").read_text().splitlines() for n in (0, 1, 2)]
    assert list(map(len, starts)) == [1, 2, 2]
    assert all(path.read_text().startswith(text) for path, text in tables.items())
    assert len(list(Path("s").glob("trial_*"))) == len(complete) == 4


@pytest.mark.parametrize(
    ("does", "error"), [("fails", "the run failed: no luck"), ("diverges", "the last score is nan")]
)
def test_failed_trials_count_and_do_not_stop_the_sweep(searched: Script, does: str, error: str) -> None:
    code, out, _ = searched(2, f"--does={does}")
    assert code == 0
    assert [(trial.state, trial.user_attrs["error"]) for trial in trials()] == [(TrialState.FAIL, error)] * 2
    assert f": {error}\n" in out
    assert "no trial is complete" in out


@pytest.mark.parametrize(
    ("does", "error"),
    [
        ("refuses", "sweep: trial 0: there is no setting --x here\n"),
        ("silent", "sweep: trial 0: score was not logged, but step, other; write another metric.name\n"),
    ],
)
def test_a_mistake_in_the_first_trial_leaves_nothing(searched: Script, does: str, error: str) -> None:
    assert searched(9, f"--does={does}") == (2, "", error)
    assert not Path("s").exists()


def test_a_folder_with_another_sweep_is_refused(searched: Script) -> None:
    assert searched(1)[0] == 0
    for changed, message in (
        ({"parameters": {"x": {"min": 0.0, "max": 2.0}}}, "whose space is x: FloatDistribution"),
        ({"metric": {"name": "score", "goal": "maximize"}}, "goal is minimize, not maximize; delete it or write anoth"),
        ({"metric": {"name": "other", "goal": "minimize"}}, "whose metric is score, not other"),
    ):
        code, _, err = searched(2, **changed)
        assert (code, err.count("\n")) == (2, 1)
        assert message in err
    assert "whose command is fit" in searched(2, "--pause=0")[2]
    assert searched(2, method="bayes")[0] == 0, "the sampler may change"
    with FileLock("s/.lock"):
        assert "another sweep runs in s; wait for it or stop it first" in searched(1)[2]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"value": 3}, CategoricalDistribution([3])),
        ({"values": ["a", True, 0.5]}, CategoricalDistribution(["a", True, 0.5])),
        ({"min": 1, "max": 4}, IntDistribution(1, 4)),
        ({"min": 1, "max": 4.0}, FloatDistribution(1.0, 4.0)),
        ({"min": 1, "max": 4, "distribution": "uniform"}, FloatDistribution(1.0, 4.0)),
        ({"min": "1e-4", "max": 1.0, "distribution": "log_uniform_values"}, FloatDistribution(1e-4, 1.0, log=True)),
        ({"min": 8, "max": 32, "q": 8, "distribution": "q_uniform"}, IntDistribution(8, 32, step=8)),
        ({"min": 0, "max": 1, "q": 0.5, "distribution": "q_uniform"}, FloatDistribution(0.0, 1.0, step=0.5)),
    ],
)
def test_distributions_are_those_of_wandb(spec: Any, expected: BaseDistribution) -> None:
    assert distribution("x", spec) == expected


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"parameters": {"x": 3}}, "x can't be 3; write value, values, or min and max"),
        ({"parameters": {"x": {"min": 1, "max": 2, "distribution": "normal"}}}, "x can't be .*normal"),
        ({"parameters": {"x": {"min": 2, "max": 1}}}, "s.yaml: .*low"),
        ({"command": ["twofold", "fit", "-c", "any.yaml"]}, r"its command must hold fit, and \$\{args\} once"),
        ({"method": "grid"}, "method can't be grid; write bayes or random"),
        ({"metric": {"name": "score", "goal": "best"}}, "metric.goal must be minimize or maximize"),
        ({"early_terminate": {"type": "envelope"}}, "early_terminate is not like { type: hyperband"),
    ],
)
def test_what_optuna_can_not_do_is_refused(tmp_path: Path, changed: Any, message: str) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(yaml.safe_dump({**SWEEP, **changed}))
    with pytest.raises(UsageError, match=message):
        read_sweep(path)
