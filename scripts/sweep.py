"""Searches settings with Optuna: one `twofold fit` per trial of a W&B sweep file, without an account.

    python -m scripts.sweep configs/sweeps/gan.yaml --trials 60 --workers 2
    python -m scripts.sweep configs/sweeps/gan.yaml --trials 4 --out /tmp/tried -- --data.source packaged

The same file works with `wandb sweep`. Arguments behind -- go to every trial. The folder, by default runs/sweeps/gan,
holds Optuna's storage (study.journal), a table (trials.csv), two plots (history.png, slices.png) and the trials' runs
(trial_0000 and so on). A sweep that was stopped or killed resumes with the same command: finished trials stay, the
others resume their runs.
"""

import csv
import math
import shlex
import sys
import time
import warnings
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import optuna
from filelock import FileLock, Timeout
from matplotlib import pyplot as plt
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState
from optuna.visualization import matplotlib as plots

from scripts import train_runs
from scripts.sweep_file import Sweep, read_sweep
from scripts.train_runs import Training, stop, stopped_by_signals
from twofold.errors import OneLineParser, UsageError, exit_code
from twofold.run_folder import runs_root

STUDY, SETTINGS, ERROR, FOLDER = "sweep", "settings", "error", "folder"
JOURNAL = "study.journal"


def search(sweep: Sweep, folder: Path, trials: int, workers: int = 1) -> optuna.Study:
    """Runs trials until the study has as many as wanted; writes the table and the plots.

    Args:
        folder: for the study and its runs; see the docstring of this file.
        trials: how many in all, with failed ones and those of earlier searches.
        workers: how many at the same time.

    Raises:
        UsageError: when the folder holds another sweep, or the first trial is refused or doesn't log the metric.
        Stopped: on SIGINT or SIGTERM, after the trainings have saved checkpoints.
    """
    folder.mkdir(parents=True, exist_ok=True)
    active: dict[Trial, Training] = {}
    try:
        with FileLock(folder / ".lock", timeout=0), stopped_by_signals():
            study = open_study(sweep, folder)
            try:
                while active or _count(study) < trials:
                    while len(active) < workers and _count(study) + len(active) < trials:
                        trial = study.ask(sweep.parameters)
                        active[trial] = Training(
                            folder / _folder(trial), sweep.arguments(trial.params), workers=workers
                        )
                        active[trial].start()
                    time.sleep(train_runs.POLL_SECONDS)
                    for trial, training in list(active.items()):
                        if _watch(study, sweep.metric, trial, training):
                            del active[trial]
                            write_table(study, folder)
            finally:
                stop(active.values())
                plot(study, folder)
    except Timeout as error:
        raise UsageError(f"another sweep runs in {folder}; wait for it or stop it first") from error
    return study


def open_study(sweep: Sweep, folder: Path) -> optuna.Study:
    """The study in the folder, a new one if there is none. Interrupted trials are queued again, with their runs.

    Raises:
        UsageError: when the folder holds another sweep.
    """
    if not (folder / JOURNAL).exists() and list(folder.glob("trial_*")):
        raise UsageError(f"{folder} holds trials without their {JOURNAL}; write another --out")
    study = optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(folder / JOURNAL))),
        study_name=STUDY,
        sampler=sweep.sampler,
        pruner=sweep.pruner,
        direction=sweep.goal,
        load_if_exists=True,
    )
    before, now = study.user_attrs.get(SETTINGS, sweep.settings), sweep.settings
    if different := [name for name in before | now if before.get(name) != now.get(name)]:
        was, becomes = (settings.get(different[0], "not searched") for settings in (before, now))
        raise UsageError(
            f"{folder} holds a sweep whose {different[0]} is {was}, not {becomes}; delete it or write another --out"
        )
    study.set_user_attr(SETTINGS, now)
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
        study.enqueue_trial(trial.params, user_attrs={FOLDER: _folder(trial)})
    return study


def _folder(trial: Trial | FrozenTrial) -> str:
    return str(trial.user_attrs.get(FOLDER, f"trial_{trial.number:04d}"))


def _count(study: optuna.Study) -> int:
    """Number of trials that have ended, without interrupted ones."""
    trials = study.get_trials(deepcopy=False)
    return sum(t.state in (TrialState.COMPLETE, TrialState.PRUNED) or ERROR in t.user_attrs for t in trials)


def _watch(study: optuna.Study, metric: str, trial: Trial, training: Training) -> bool:
    """Reports new values of the metric; returns whether the trial has ended.

    Raises:
        UsageError: when the study's first trial is refused or doesn't log the metric.
    """
    code = training.poll()
    rows = _rows(training)
    values = [float(row[metric]) for row in rows if row.get(metric)]
    state, error = (None, "") if code is None else (TrialState.COMPLETE, "")
    for number in range(trial.user_attrs.get("reported", 0), len(values)):
        trial.report(values[number], number + 1)
        trial.set_user_attr("reported", number + 1)
        if code is None and trial.should_prune():
            state = TrialState.PRUNED
            break
    if state is None:
        return False
    stop([training])
    if code:
        error = training.error
    elif not values:
        error = f"{metric} was not logged, but {', '.join(rows[0] if rows else ['nothing'])}; write another metric.name"
    elif not math.isfinite(values[-1]):
        error = f"the last {metric} is {values[-1]}"
    if error:
        if (code == 2 or (code == 0 and not values)) and not _count(study):
            raise UsageError(f"trial {trial.number}: {error}")
        state = TrialState.FAIL
        trial.set_user_attr(ERROR, error)
    trial.set_user_attr("batches", training.step)
    study.tell(trial, values[-1] if state == TrialState.COMPLETE else None, state)
    result = error or f"{metric} {values[-1]:.4g}"
    print(f"trial {trial.number} {state.name.lower()} after {training.step:,} batches: {result}", flush=True)
    return True


def _rows(training: Training) -> list[dict[str, str]]:
    """The complete rows of the run's `metrics.csv`."""
    table = training.folder if training.run is None else training.run.path / "metrics.csv"
    complete, _, _ = table.read_text().rpartition("\n") if table.is_file() else ("", "", "")
    return list(csv.DictReader(complete.splitlines()))


def write_table(study: optuna.Study, folder: Path) -> None:
    """Writes `trials.csv`, a row per trial."""
    table = study.trials_dataframe(("number", "state", "value", "user_attrs", "params"))
    table.to_csv(folder / "trials.csv", index=False)


def plot(study: optuna.Study, folder: Path) -> None:
    """Saves Optuna's plots, once a trial is complete: values by trial, and values by each parameter."""
    if study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        for name, plotted in (("history", plots.plot_optimization_history), ("slices", plots.plot_slice)):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the plots are experimental
                plotted(study)
            plt.savefig(folder / f"{name}.png", bbox_inches="tight")
            plt.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Searches until there are as many trials as wanted; returns the exit code."""
    return exit_code("sweep", _run, arguments)


def _run(arguments: list[str]) -> int:
    options = _parse(arguments)
    sweep = read_sweep(options.sweep, options.more)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder = options.out or runs_root() / "sweeps" / options.sweep.stem
    study = search(sweep, folder, options.trials, options.workers)
    if study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        best = study.best_trial
        print(f"best is trial {best.number} with {sweep.metric} {best.value:.4g}:")
        print(shlex.join(["twofold", *sweep.arguments(best.params)]))
    else:
        print("no trial is complete")
    print(folder / "trials.csv")
    return 0


def _parse(arguments: list[str]) -> Namespace:
    at = arguments.index("--") if "--" in arguments else len(arguments)
    parser = OneLineParser(
        prog="python -m scripts.sweep",
        usage="python -m scripts.sweep SWEEP [--trials N] [--workers N] [--out FOLDER] [-- --any.setting VALUE ...]",
        description=__doc__,
    )
    parser.add_argument("sweep", type=Path, help="sweep file, such as configs/sweeps/gan.yaml")
    parser.add_argument("--trials", type=int, default=40, help="number of trials in all, by default 40")
    parser.add_argument("--workers", type=int, default=1, help="trials at the same time, by default 1")
    parser.add_argument("--out", type=Path, help="folder of the study, by default runs/sweeps/NAME")
    options = parser.parse_args(arguments[:at])
    options.more = arguments[at + 1 :]
    if min(options.trials, options.workers) < 1:
        raise UsageError("--trials and --workers must be 1 or more")
    return options


if __name__ == "__main__":
    sys.exit(main())
