"""A run in Weights & Biases, with an account or without."""

import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import wraps
from pathlib import Path
from typing import Any

import wandb
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.loggers.logger import DummyLogger, rank_zero_experiment
from lightning.pytorch.utilities.rank_zero import rank_zero_only, rank_zero_warn
from wandb.analytics.opentelemetry import opentelemetry_proxy

from twofold.errors import one_line

AXIS = "trainer/global_step"
"""Of every series: the number of the batch, by Lightning's name. W&B's own steps would lose rows that come late."""

SUMMARIES = {
    "train/accuracy": "max",
    "val/accuracy": "max",
    "val/loss": "min",
    "quality/fid": "min",
    "quality/fid_over_real": "min",
    "quality/modes_covered": "max",
    "time/ms_per_batch": "mean",
}
"""What the summary tells of a series besides its last value; of all others it has only that. The mean is that of the
part since the run was last resumed."""

LONGEST_TAG = 64


def _harmless(method: Callable[..., None]) -> Callable[..., None]:
    """Makes a warning of what a method of `TwofoldWandbLogger` raises."""

    @wraps(method)
    def guarded(self: "TwofoldWandbLogger", *args: Any, **kwargs: Any) -> None:
        try:
            method(self, *args, **kwargs)
        except Exception as error:
            self._tell(f"{one_line(error)}; something is not recorded")

    return guarded


class TwofoldWandbLogger(WandbLogger):
    """A Weights & Biases run that needs no account, and whose troubles don't reach the training.

    With a key (`wandb login`, `WANDB_API_KEY`) it goes online; without one it is recorded offline in the run's folder,
    never asks, and can be uploaded later by `wandb sync`. `WANDB_MODE` overrules both.

    With a bad key, or when the server doesn't answer within 10 s, the run is recorded offline under the same id. When
    the server fails later, everything is still kept in the run's folder; the end waits 10 s for what is not uploaded
    yet (10 minutes with `log_model`: checkpoints are large). `WANDB_INIT_TIMEOUT` and `WANDB_FINISH_TIMEOUT` overrule
    these waits, in seconds. Whatever W&B raises becomes a warning, one for a run.

    Every series lies over the axis `trainer/global_step`, the batch by how many came before it, and the summary has the
    best value of those in `SUMMARIES`.

    Args:
        project: the W&B project.
        save_dir: the folder for `wandb/`; the CLI puts the run's folder here.
        id: the run's identity, by which it is resumed; the CLI puts the run's id here.
        group: what runs are grouped by; the CLI puts the experiment here.
        tags: words to find the run by.
        log_model: keep what was trained as an artifact: the generator files, or where there are none the best
            checkpoint, or the last.
    """

    def __init__(
        self,
        project: str = "twofold",
        save_dir: str | None = None,
        id: str | None = None,
        group: str | None = None,
        tags: Sequence[str] = (),
        log_model: bool = False,
    ) -> None:
        # W&B reports its own failures to the same server, waits for that too and prints what becomes of it.
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        # And when its start fails, which holds a lock, the report waits for this lock (0.31.0).
        opentelemetry_proxy.disable()
        settings = wandb.Settings(silent=True, console="off", finish_timeout_raises=True)
        settings.x_transaction_log_flush_interval = 1.0  # a killed run would lose its last 15 s
        for name, seconds in {"init_timeout": 10, "finish_timeout": 600 if log_model else 10}.items():
            if f"WANDB_{name.upper()}" not in os.environ:
                setattr(settings, name, seconds)
        self._trouble = ""
        self._told = False
        try:
            wandb.setup(settings=settings)
            has_key = wandb.login(prompt=False, verify=False)
            mode = os.environ.get("WANDB_MODE") or ("online" if has_key else "offline")
        except Exception as error:
            self._trouble = one_line(error)
            mode = "offline"
            os.environ.pop("WANDB_API_KEY", None)  # with a blank at its end, nothing of W&B would work
        self._takes_artifacts = mode != "disabled"
        super().__init__(
            name=id,
            project=project,
            save_dir=save_dir or ".",
            id=id,
            mode=mode,
            log_model=log_model,
            group=group,
            tags=list(tags),
            settings=settings,
        )
        del self._wandb_init["anonymous"]  # W&B complains of it

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The W&B run; where there can't be one, something that takes all calls and does nothing."""
        if self._experiment is None:
            self._start()
        return self._experiment

    def _start(self) -> None:
        try:
            run = super().experiment
            for name, best in SUMMARIES.items():
                run.define_metric(name, step_metric=AXIS, summary=f"{best},last")
        except Exception as error:
            self._trouble = self._trouble or one_line(error)
            _tear_down()  # else the id counts as in use
            if self._wandb_init["mode"] != "offline":
                self._wandb_init["mode"] = "offline"
                self._start()
                return
            self._tell(f"{self._trouble}; nothing is recorded")
            nothing: Any = DummyLogger().experiment
            nothing.id = self._id  # Lightning names folders by it
            self._experiment = nothing
            return
        if self._trouble:
            self._tell(f"{self._trouble}; recorded offline, to upload by: wandb sync {self._save_dir}/wandb/offline-*")

    log_hyperparams = _harmless(WandbLogger.log_hyperparams)
    log_metrics = _harmless(WandbLogger.log_metrics)
    log_image = _harmless(WandbLogger.log_image)
    after_save_checkpoint = _harmless(WandbLogger.after_save_checkpoint)

    @rank_zero_only
    @_harmless
    def log_table(self, *args: Any, **kwargs: Any) -> None:
        if self._takes_artifacts:
            with self._artifact():
                super().log_table(*args, **kwargs)

    @rank_zero_only
    @_harmless
    def tag(self, words: Iterable[str]) -> None:
        """Adds tags to those of the config."""
        run = self.experiment
        run.tags = tuple(dict.fromkeys([*(run.tags or ()), *(word[:LONGEST_TAG] for word in words)]))

    @rank_zero_only
    @_harmless
    def recall(self, rows: Iterable[Mapping[str, float]]) -> None:
        """Logs once more each series' last and best value in `rows`, which the run had logged before it was resumed.

        W&B makes the summary of what this process logs; so it is that of the whole run. Each row has its `step`.
        """
        series: dict[str, dict[int, float]] = {}
        for row in rows:
            for name in row.keys() - {"step"}:
                series.setdefault(name, {})[int(row["step"])] = row[name]
        again: dict[int, dict[str, float]] = {}
        for name, values in series.items():
            steps = {max(values)}
            numbers = {step: value for step, value in values.items() if not math.isnan(value)}
            match SUMMARIES.get(name):
                case "min" if numbers:
                    steps.add(min(numbers, key=lambda step: numbers[step]))
                case "max" if numbers:
                    steps.add(max(numbers, key=lambda step: numbers[step]))
            for step in steps:
                again.setdefault(step, {})[name] = values[step]
        for step in sorted(again):
            self.log_metrics(again[step], step)

    @rank_zero_only
    @_harmless
    def keep_model(self, path: Path) -> None:
        """Keeps a file of weights, with the `.json` beside it if there is one, if `log_model` asks for it."""
        if not (self._log_model and self._takes_artifacts):
            return
        facts = path.with_suffix(".json")
        known = json.loads(facts.read_text()) if facts.exists() else None
        artifact = wandb.Artifact(f"{path.stem}-{self.version}", type="model", metadata=known)
        with self._artifact():
            for file in (path, facts):
                if file.exists():
                    artifact.add_file(str(file))
            self.experiment.log_artifact(artifact)

    @contextmanager
    def _artifact(self) -> Iterator[None]:
        """Within, W&B keeps something as an artifact: asks the server, for 10 s, and copies it until it is uploaded."""
        here = str(Path(self._save_dir or ".", "wandb").absolute())  # else in the home directory
        self._takes_artifacts = False  # a server that doesn't answer is waited for once
        with _unless_set(WANDB_DATA_DIR=here, WANDB_HTTP_TIMEOUT="10"):
            yield
        self._takes_artifacts = True

    @rank_zero_only
    @_harmless
    def finalize(self, status: str) -> None:
        super().finalize(status)
        if self._experiment is None:
            return
        try:
            self._experiment.finish(exit_code=0 if status == "success" else 1)
        except TimeoutError:
            where = f"{self._save_dir}/wandb/run-*"
            self._tell(f"the server didn't take everything in time; upload it by: wandb sync --include-online {where}")
        except Exception:
            _tear_down()  # else its process, which is gone, is called again when ours ends
            raise
        finally:
            self._experiment = None

    def _tell(self, words: str) -> None:
        told, self._told = self._told, True
        if not told:
            rank_zero_warn(f"W&B: {words}")


@contextmanager
def _unless_set(**variables: str) -> Iterator[None]:
    """Within, these environment variables have these values, if they had none."""
    missing = variables.keys() - os.environ.keys()
    os.environ.update({name: variables[name] for name in missing})
    try:
        yield
    finally:
        for name in missing:
            del os.environ[name]


def _tear_down() -> None:
    with suppress(Exception, SystemExit):  # which it raises when its process has died
        wandb.teardown()
    wandb.run = None  # a run whose process has died stays there, and the next logger would take it
