"""Searches settings without an account: the trials of a sweep file, some at once, the worse ones ended early.

    python -m scripts.sweep configs/sweeps/gan.yaml --trials 60 --workers 2
    python -m scripts.sweep configs/sweeps/gan.yaml --trials 4 --storage /tmp/tried.db -- --data.source packaged

The file is one for `wandb sweep`; what stands behind -- goes to every trial. Optuna keeps the study in --storage, a
file for SQLite (.db) or a journal (.journal), by default runs/sweeps/gan.db. Beside it stand gan.csv, every trial;
gan.png, what came of them; and gan/trial_0000 and so on, the folders in which `twofold fit` trained.

A sweep that was stopped or killed goes on by the same command: finished trials stay, the others go on where they were.
"""

import json
import math
import os
import shutil
import sys
from argparse import Namespace
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from threading import Event, Lock
from typing import Any

import optuna
from optuna.distributions import distribution_to_json
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import Trial, TrialState

from scripts.search_space import Sweep, read_sweep
from scripts.sweep_results import draw, told, write
from scripts.training import Training, alone, stopped_by_signals
from twofold.errors import OneLineParser, Stopped, UsageError, exit_code, one_line
from twofold.run_folder import runs_root

STUDY = "sweep"
SQLITE, JOURNAL = ".db", ".journal"
SEARCHED = "searched"
"""The study's attribute that says what its trials have in common."""
POLL = 0.3
"""Seconds between two looks at a training."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Searches until there are as many trials as wanted; returns the exit code."""
    return exit_code("sweep", _run, arguments)


def _run(arguments: list[str]) -> int:
    wanted = _parse(arguments)
    sweep = read_sweep(wanted.sweep)
    sweep = replace(sweep, command=(*sweep.command, *wanted.more))
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with _alone(wanted.storage):
        study = open_study(sweep, wanted.storage)
        search = Search(sweep, study, wanted.storage, wanted.trials, wanted.workers)
        try:
            search.run()
        except Mistake:
            search.forget()
            raise
        print("\n".join(told(study, sweep)))
        print(f"{search.table}\n{search.picture}")
    return 0


class Mistake(UsageError):
    """A trial was refused, or logged no metric, before any trial logged one: the others would come to the same."""


class Search:
    """Trials in threads, each of which watches over a training in a process of its own.

    Args:
        sweep: what is searched.
        study: where it is kept; its running trials, which a search that was killed left, go on.
        storage: the study's file, beside which tables and trials lie.
        trials: how many there should be in all, failed ones included.
        workers: how many at once.

    Raises:
        UsageError: when there are folders of trials that the study doesn't know.
    """

    def __init__(self, sweep: Sweep, study: optuna.Study, storage: Path, trials: int, workers: int) -> None:
        self.sweep = sweep
        self.study = study
        self.folder = storage.with_suffix("")
        self.table = storage.with_suffix(".csv")
        self.picture = storage.with_suffix(".png")
        self.trials = trials
        self.workers = workers
        before = study.get_trials(deepcopy=False)
        if not before and self.folder.exists():
            raise UsageError(
                f"{self.folder} holds trials of another sweep; move it away, or write another --storage than {storage}"
            )
        self._left = [trial for trial in before if not trial.state.is_finished()]
        self._reported = Counter({trial.number: len(trial.intermediate_values) for trial in self._left})
        self._stopped = Event()
        self._one_at_a_time = Lock()
        threads = max(1, (os.cpu_count() or 1) // workers)
        self._environment = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads))}

    def run(self) -> None:
        """Searches until there are enough trials, and draws them.

        Raises:
            Stopped: when a signal came; the trainings have saved checkpoints.
            Mistake: when the sweep file and the config don't go together.
        """
        try:
            with stopped_by_signals("sweep", self._stopped) as received, ThreadPoolExecutor(self.workers) as threads:
                for worker in as_completed([threads.submit(self._work) for _ in range(self.workers)]):
                    worker.result()
        finally:
            if any(trial.state.is_finished() for trial in self.study.get_trials(deepcopy=False)):
                draw(self.study, self.sweep.metric, self.picture)
        if received:
            raise Stopped(received[0], f"stopped by {received[0].name}; the same command goes on")

    def forget(self) -> None:
        """Removes the study, its trials' folders and what was written of them."""
        optuna.delete_study(study_name=STUDY, storage=self.study._storage)
        shutil.rmtree(self.folder, ignore_errors=True)
        for path in (self.table, self.picture):
            path.unlink(missing_ok=True)

    def _work(self) -> None:
        try:
            while (claimed := self._next()) is not None:
                self._try(*claimed)
        except BaseException:
            self._stopped.set()
            raise

    def _next(self) -> tuple[Trial, dict[str, Any]] | None:
        with self._one_at_a_time:
            if self._stopped.is_set():
                return None
            if self._left:
                # As Optuna makes one for each trial; to tell that it failed and to enqueue another would lose its run.
                trial = Trial(self.study, self._left.pop(0)._trial_id)
            elif len(self.study.get_trials(deepcopy=False)) < self.trials:
                trial = self.study.ask()
            else:
                return None
            return trial, self.sweep.suggest(trial)

    def _try(self, trial: Trial, values: dict[str, Any]) -> None:
        training = Training(self.folder / f"trial_{trial.number:04d}", self.sweep.arguments(values))
        if training.state == "running":
            print(
                f"trial {trial.number} still trains for a sweep that was killed; it stops within a minute", flush=True
            )
        while training.state == "running":
            if self._stopped.wait(POLL):
                return
        try:
            training.start(**self._environment)
            while training.exit_code is None:
                if self._stopped.wait(POLL):
                    return
                if self._is_hopeless(trial, training):
                    self._tell(trial, training, TrialState.PRUNED)
                    return
            self._is_hopeless(trial, training)  # it is over, but others are compared with it
            self._classifier(trial, training)
        finally:
            training.stop()

    def _is_hopeless(self, trial: Trial, training: Training) -> bool:
        """Reports what is new, and tells whether to end the training early."""
        hopeless = False
        for n, value in enumerate(training.logged(self.sweep.metric), start=1):
            if n > self._reported[trial.number] and not hopeless:
                self._reported[trial.number] = n
                trial.report(value, n)
                hopeless = trial.should_prune()
        return hopeless

    def _classifier(self, trial: Trial, training: Training) -> None:
        logged = training.logged(self.sweep.metric)
        if training.exit_code == 0 and logged and math.isfinite(logged[-1]):
            self._tell(trial, training, TrialState.COMPLETE, logged[-1])
            return
        mistaken = training.exit_code == 2 or (training.exit_code == 0 and not logged)
        if training.exit_code != 0:
            complaint = training.last_words
        elif logged:
            complaint = f"{self.sweep.metric} ended as {logged[-1]}"
        else:
            complaint = (
                f"{self.sweep.metric} was never logged, but {', '.join(training.metrics) or 'nothing'}; "
                "train longer, log it more often, or write another metric.name"
            )
        if mistaken and not any(other.intermediate_values for other in self.study.get_trials(deepcopy=False)):
            raise Mistake(f"trial {trial.number}: {complaint}")
        trial.set_user_attr("complaint", complaint)
        self._tell(trial, training, TrialState.FAIL)

    def _tell(self, trial: Trial, training: Training, state: TrialState, value: float | None = None) -> None:
        batches = training.batches(self.sweep.metric)
        trial.set_user_attr("batches", batches)
        with self._one_at_a_time:
            ended = self.study.tell(trial, value, state)
            write(self.study, self.sweep.metric, self.table)
        reached = "" if ended.value is None else f" with {self.sweep.metric} {ended.value:.4g}"
        complaint = f": {ended.user_attrs['complaint']}" if "complaint" in ended.user_attrs else ""
        print(f"trial {trial.number} {state.name.lower()} after {batches:,} batches{reached}{complaint}", flush=True)


def open_study(sweep: Sweep, path: Path) -> optuna.Study:
    """The study in this file, new if there is none yet.

    Raises:
        UsageError: when the file can't be read and written, or what was searched there is something else.
    """
    try:
        storage = _storage(path)
        if set(optuna.get_all_study_names(storage)) - {STUDY}:
            raise UsageError(f"--storage {path} holds studies that scripts.sweep didn't make; write another file")
        study = optuna.create_study(
            storage=storage,
            study_name=STUDY,
            sampler=sweep.sampler(),
            pruner=sweep.pruner(),
            direction=sweep.goal,
            load_if_exists=True,
        )
        now = searched(sweep)
        if not study.get_trials(deepcopy=False):
            study.set_user_attr(SEARCHED, now)
    except UsageError:
        raise
    except Exception as error:  # of SQLAlchemy, SQLite, json and the operating system
        raise UsageError(f"--storage {path} can't be used: {one_line(error)}; write another file") from error
    _refuse_another(study.user_attrs[SEARCHED], now, path)
    return study


def searched(sweep: Sweep) -> dict[str, Any]:
    """What all trials of a study share; how they are drawn and pruned may change."""
    space = {name: json.loads(distribution_to_json(drawn)) for name, drawn in sweep.parameters.items()}
    return {"command": " ".join(sweep.command), "metric": sweep.metric, "goal": sweep.goal, **space}


def _refuse_another(before: dict[str, Any], now: dict[str, Any], path: Path) -> None:
    for name in {**before, **now}:
        was, becomes = before.get(name), now.get(name)
        if was != becomes:
            raise UsageError(
                f"--storage {path} holds a sweep in which {name} was {was or 'not searched'}, and here it is "
                f"{becomes or 'not searched'}; write another --storage, or go on with the same file and options"
            )


def _storage(path: Path) -> BaseStorage:
    if path.suffix == JOURNAL:
        if path.exists():
            with path.open("rb") as file:
                json.loads(file.readline() or "{}")  # Optuna would add to whatever it is
        return JournalStorage(JournalFileBackend(str(path)))
    waiting = {"timeout": 60}  # seconds, for what another thread writes
    return RDBStorage(f"sqlite:///{path}", engine_kwargs={"connect_args": waiting})


def _alone(storage: Path) -> AbstractContextManager[None]:
    """Within, no other process searches with this storage, whose folder is made."""
    return alone(
        storage.with_name(f".{storage.name}.in_use"),
        f"another sweep works with {storage}; wait for it or end it first",
        lambda error: f"--storage {storage} can't be written: {one_line(error)}; write another file",
    )


def _parse(arguments: list[str]) -> Namespace:
    at = arguments.index("--") if "--" in arguments else len(arguments)
    parser = OneLineParser(
        prog="python -m scripts.sweep",
        usage="python -m scripts.sweep SWEEP [--trials N] [--workers N] [--storage FILE] [-- --any.setting VALUE ...]",
        description=__doc__,
    )
    parser.add_argument("sweep", type=Path, help="a sweep file, such as configs/sweeps/gan.yaml")
    parser.add_argument("--trials", type=int, default=40, help="in all, with those of a sweep that goes on; 40")
    parser.add_argument("--workers", type=int, default=1, help="trials at once; 1")
    parser.add_argument("--storage", type=Path, help="a .db or .journal file; runs/sweeps/NAME.db")
    wanted = parser.parse_args(arguments[:at])
    wanted.more = arguments[at + 1 :]
    for name in ("trials", "workers"):
        if getattr(wanted, name) < 1:
            raise UsageError(f"--{name} is {getattr(wanted, name)}; write 1 or more")
    wanted.storage = wanted.storage or runs_root() / "sweeps" / f"{wanted.sweep.stem}{SQLITE}"
    if wanted.storage.suffix not in (SQLITE, JOURNAL):
        raise UsageError(f"--storage can't be {wanted.storage}; write a file that ends in {SQLITE} or {JOURNAL}")
    if wanted.storage.is_dir():
        raise UsageError(f"--storage {wanted.storage} is a folder; write a file's path")
    return wanted


if __name__ == "__main__":
    sys.exit(main())
