"""Searches settings with Optuna: one `twofold fit` per trial of a W&B sweep file, without an account.

    python -m scripts.sweep configs/sweeps/gan.yaml --trials 60 --workers 2
    python -m scripts.sweep configs/sweeps/gan.yaml --trials 4 --out /tmp/tried -- --data.source packaged

The same file works with `wandb sweep`. Arguments behind -- go to every trial. The folder, by default runs/sweeps/gan,
holds Optuna's storage (study.journal), a table (trials.csv), two plots (history.png, slices.png) and the trials' runs
(trial_0000 and so on). A sweep that was stopped or killed resumes with the same command: finished trials stay, the
others resume their runs.
"""

import math
import shlex
import shutil
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import chain
from pathlib import Path

import optuna
from filelock import FileLock, Timeout
from matplotlib import pyplot as plt
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState
from optuna.visualization import matplotlib as plots

from scripts.arguments import whole_number
from scripts.sweep_file import Sweep, read_sweep
from scripts.train_runs import Training, in_parallel, stop
from twofold.errors import OneLineParser, UsageError, exit_code
from twofold.run_folder import runs_root
from twofold.tables import read_rows

STUDY, SETTINGS, FOLDER = "sweep", "settings", "folder"


def search(sweep: Sweep, folder: Path, trials: int, workers: int = 1) -> optuna.Study:
    """Runs trials until the study has as many as wanted; writes the table and the plots.

    Args:
        folder: for the study and its runs; see the docstring of this file.
        trials: how many in all, with failed ones and those of earlier searches.
        workers: how many at the same time.

    Raises:
        UsageError: when the folder holds another sweep, or the first trial is refused or doesn't log the metric. A new
            folder is removed.
        Stopped: on SIGINT or SIGTERM, after the trainings have saved checkpoints.
    """
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / ".lock", timeout=0):
            study = open_study(sweep, folder)
            asked: dict[Training, Trial] = {}

            def trainings() -> Iterator[Training]:
                for _ in range(trials - _count(study)):
                    trial = study.ask(sweep.parameters)
                    training = Training(folder / _folder(trial), sweep.arguments(trial.params), workers=workers)
                    asked[training] = trial
                    yield training

            with closing(in_parallel(trainings(), workers)) as polls:
                for training in chain.from_iterable(polls):
                    if _watch(study, sweep.metric, asked[training], training):
                        table = study.trials_dataframe(("number", "state", "value", "user_attrs", "params"))
                        table.to_csv(folder / "trials.csv", index=False)
            plot(study, folder)
    except Timeout as error:
        raise UsageError(f"another sweep runs in {folder}; wait for it or stop it first") from error
    except UsageError:
        if is_new:
            shutil.rmtree(folder)
        raise
    return study


def plot(study: optuna.Study, folder: Path) -> None:
    """Saves Optuna's plots of values by trial and by parameter, once a trial is complete."""
    if study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        for name, draw in (("history", plots.plot_optimization_history), ("slices", plots.plot_slice)):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Optuna's plots are experimental
                draw(study)
            plt.savefig(folder / f"{name}.png", bbox_inches="tight")
            plt.close()


def open_study(sweep: Sweep, folder: Path) -> optuna.Study:
    """The study in the folder, a new one if there is none. Interrupted trials are queued again, with their runs.

    Raises:
        UsageError: when the folder holds another sweep.
    """
    study = optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(folder / "study.journal"))),
        study_name=STUDY,
        sampler=sweep.sampler,
        pruner=sweep.pruner,
        direction=sweep.goal,
        load_if_exists=True,
    )
    settings = sweep.settings
    for name, before in study.user_attrs.get(SETTINGS, settings).items():
        if before != settings[name]:
            instead = f"not {settings[name]}; delete it or write another --out"
            raise UsageError(f"{folder} holds a sweep whose {name} is {before}, {instead}")
    study.set_user_attr(SETTINGS, settings)
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
        study.enqueue_trial(trial.params, user_attrs={FOLDER: _folder(trial)})
    return study


def _folder(trial: Trial | FrozenTrial) -> str:
    return str(trial.user_attrs.get(FOLDER, f"trial_{trial.number:04d}"))


def _count(study: optuna.Study) -> int:
    """Number of trials that have ended, without interrupted ones."""
    trials = study.get_trials(deepcopy=False)
    return sum(t.state in (TrialState.COMPLETE, TrialState.PRUNED) or "error" in t.user_attrs for t in trials)


def _watch(study: optuna.Study, metric: str, trial: Trial, training: Training) -> bool:
    """Reports new values of the metric; returns whether the trial has ended.

    Raises:
        UsageError: when the study's first trial is refused or doesn't log the metric.
    """
    code = training.code
    rows = [] if training.run is None else read_rows(training.run.path / "metrics.csv")
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
        trial.set_user_attr("error", error)
    trial.set_user_attr("batches", training.step)
    study.tell(trial, values[-1] if state == TrialState.COMPLETE else None, state)
    result = error or f"{metric} {values[-1]:.4g}"
    print(f"trial {trial.number} {state.name.lower()} after {training.step:,} batches: {result}", flush=True)
    return True


def main(arguments: Sequence[str] | None = None) -> int:
    """Searches until there are as many trials as wanted; returns the exit code."""
    return exit_code("sweep", _run, arguments)


def _run(arguments: list[str]) -> int:
    at = arguments.index("--") if "--" in arguments else len(arguments)
    parser = OneLineParser(
        prog="python -m scripts.sweep",
        usage="python -m scripts.sweep SWEEP [--trials N] [--workers N] [--out FOLDER] [-- --any.setting VALUE ...]",
        description=__doc__,
    )
    parser.add_argument("sweep", type=Path, help="sweep file, such as configs/sweeps/gan.yaml")
    parser.add_argument("--trials", type=whole_number(1), default=40, help="number of trials in all, by default 40")
    parser.add_argument("--workers", type=whole_number(1), default=1, help="trials at the same time, by default 1")
    parser.add_argument("--out", type=Path, help="folder of the study, by default runs/sweeps/NAME")
    options = parser.parse_args(arguments[:at])

    sweep = read_sweep(options.sweep, more=arguments[at + 1 :])
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


if __name__ == "__main__":
    sys.exit(main())
