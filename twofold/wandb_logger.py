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
"""The x-axis of every series, by Lightning's name: the number of batches before. W&B's own steps drop late rows."""

SUMMARIES = {
    "train/accuracy": "max",
    "val/accuracy": "max",
    "val/loss": "min",
    "quality/fid": "min",
    "quality/fid_over_real": "min",
    "quality/modes_covered": "max",
    "time/ms_per_batch": "mean",
}
"""What the summary holds of a series besides its last value; of all others it has only that. The mean is that since the
run was last resumed."""

LONGEST_TAG = 64


def _never_raises(method: Callable[..., None]) -> Callable[..., None]:
    """Turns what a method of `TwofoldWandbLogger` raises into a warning."""

    @wraps(method)
    def guarded(self: "TwofoldWandbLogger", *args: Any, **kwargs: Any) -> None:
        try:
            method(self, *args, **kwargs)
        except Exception as error:
            self._warn(f"{one_line(error)}; something is not recorded")

    return guarded


class TwofoldWandbLogger(WandbLogger):
    """A Weights & Biases run that needs no account and can't end the training.

    With a key (`wandb login`, `WANDB_API_KEY`) the run is online. Without one it is recorded offline in the run's
    folder, never asks, and can be uploaded later by `wandb sync`. `WANDB_MODE` overrides both.

    With a bad key, or if the server doesn't answer within 10 s, the run is recorded offline under the same id. If the
    server fails later, everything is still kept in the run's folder; the end waits 10 s for what isn't uploaded yet (10
    minutes with `log_model`: checkpoints are large). `WANDB_INIT_TIMEOUT` and `WANDB_FINISH_TIMEOUT` override these
    times, in seconds. Whatever W&B raises becomes a warning, one per run.

    `WANDB_PROJECT`, `WANDB_NAME`, `WANDB_TAGS` and W&B's other variables rule what the config leaves open, except
    `WANDB_DIR` and `WANDB_RUN_ID` in the CLI: a run keeps its folder and its id, by which it is resumed.

    Every series has the axis `trainer/global_step`, and the summary has the best value of those in `SUMMARIES`.

    Args:
        project: the W&B project; without one `WANDB_PROJECT`, or "twofold".
        name: of the run; without one `WANDB_NAME`, or the id.
        save_dir: the folder for `wandb/`; the CLI fills in the run's folder.
        id: the run's identity, by which it is resumed; the CLI fills in the run's id.
        group: the group of runs; without one `WANDB_RUN_GROUP`; the CLI fills in the experiment if both are missing.
        tags: words to find the run by; without any those of `WANDB_TAGS`.
        log_model: keep what was trained as an artifact: the generator files, or without them the best checkpoint, or
            the last.
    """

    def __init__(
        self,
        project: str | None = None,
        save_dir: str | None = None,
        id: str | None = None,
        group: str | None = None,
        tags: Sequence[str] = (),
        log_model: bool = False,
        name: str | None = None,
    ) -> None:
        # W&B reports its own failures to the same server and waits for it. If its process can't start, which holds a
        # lock, the report waits for that lock (0.31.0).
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        opentelemetry_proxy.disable()
        settings = wandb.Settings(silent=True, console="off", finish_timeout_raises=True)
        settings.x_transaction_log_flush_interval = 1.0  # a killed run would lose its last 15 s
        for timeout, seconds in {"init_timeout": 10, "finish_timeout": 600 if log_model else 10}.items():
            if f"WANDB_{timeout.upper()}" not in os.environ:
                setattr(settings, timeout, seconds)
        self._trouble = ""
        self._warned = False
        try:
            wandb.setup(settings=settings)
            has_key = wandb.login(prompt=False, verify=False)
            mode = os.environ.get("WANDB_MODE") or ("online" if has_key else "offline")
        except Exception as error:
            self._trouble = one_line(error)
            mode = "offline"
            os.environ.pop("WANDB_API_KEY", None)  # a key that W&B can't parse makes all of its calls fail
        self._takes_artifacts = mode != "disabled"
        super().__init__(
            name=name or os.environ.get("WANDB_NAME") or id,
            project=project or os.environ.get("WANDB_PROJECT") or "twofold",
            save_dir=save_dir or ".",
            id=id,
            mode=mode,
            log_model=log_model,
            group=group,
            tags=list(tags) or None,
            settings=settings,
        )
        del self._wandb_init["anonymous"]  # deprecated: W&B would warn

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The W&B run; if there can't be one, an object that takes all calls and does nothing."""
        if self._experiment is None:
            self._start()
        return self._experiment

    def _start(self) -> None:
        for mode in dict.fromkeys((self._wandb_init["mode"], "offline")):
            self._wandb_init["mode"] = mode
            try:
                run = super().experiment
                for name, best in SUMMARIES.items():
                    run.define_metric(name, step_metric=AXIS, summary=f"{best},last")
            except Exception as error:
                self._trouble = self._trouble or one_line(error)
                _tear_down()  # else the id counts as in use
                continue
            if self._trouble:
                upload = f"wandb sync {self._save_dir}/wandb/offline-*"
                self._warn(f"{self._trouble}; recorded offline, to upload by: {upload}")
            return
        self._warn(f"{self._trouble}; nothing is recorded")
        nothing: Any = DummyLogger().experiment
        nothing.id = self._id  # Lightning names folders by it
        self._experiment = nothing

    log_hyperparams = _never_raises(WandbLogger.log_hyperparams)
    log_metrics = _never_raises(WandbLogger.log_metrics)
    log_image = _never_raises(WandbLogger.log_image)
    after_save_checkpoint = _never_raises(WandbLogger.after_save_checkpoint)

    @rank_zero_only
    @_never_raises
    def log_table(self, *args: Any, **kwargs: Any) -> None:
        if self._takes_artifacts:
            with self._artifact():
                super().log_table(*args, **kwargs)

    @rank_zero_only
    @_never_raises
    def add_tags(self, words: Iterable[str]) -> None:
        """Adds tags to those of the config."""
        run = self.experiment
        run.tags = tuple(dict.fromkeys([*(run.tags or ()), *(word[:LONGEST_TAG] for word in words)]))

    def log_again(self, rows: Iterable[Mapping[str, float]]) -> None:
        """Logs the rows, each with its `step`, that a resumed run had logged before.

        W&B makes the summary of what this process logs, so it becomes that of the whole run. Rows that a killed process
        didn't upload are there, too; of the others W&B then has two equal ones. NaN is left out: the minimum of numbers
        and NaN is NaN.
        """
        for row in rows:
            known = {name: value for name, value in row.items() if name != "step" and not math.isnan(value)}
            self.log_metrics(known, int(row["step"]))

    @rank_zero_only
    @_never_raises
    def keep_model(self, path: Path) -> None:
        """Keeps a file of weights, and the `.json` beside it if there is one, as an artifact if `log_model` is set."""
        if not (self._log_model and self._takes_artifacts):
            return
        files = [file for file in (path, path.with_suffix(".json")) if file.exists()]
        metadata = json.loads(files[1].read_text(encoding="utf-8")) if len(files) > 1 else None
        artifact = wandb.Artifact(f"{path.stem}-{self.version}", type="model", metadata=metadata)
        with self._artifact():
            for file in files:
                artifact.add_file(str(file))
            self.experiment.log_artifact(artifact)

    @contextmanager
    def _artifact(self) -> Iterator[None]:
        """While W&B makes an artifact: waits 10 s for the server, and keeps the copies in the run's folder."""
        folder = Path(self._save_dir or ".", "wandb").absolute()  # else in the home directory
        added = {"WANDB_DATA_DIR": str(folder), "WANDB_HTTP_TIMEOUT": "10"}
        added = {name: value for name, value in added.items() if name not in os.environ}
        self._takes_artifacts = False  # after a failure no further one is tried, so the wait is only once
        os.environ.update(added)
        try:
            yield
        finally:
            for name in added:
                del os.environ[name]
        self._takes_artifacts = True

    @rank_zero_only
    @_never_raises
    def finalize(self, status: str) -> None:
        super().finalize(status)
        if self._experiment is None:
            return
        try:
            self._experiment.finish(exit_code=0 if status == "success" else 1)
        except TimeoutError:
            upload = f"wandb sync --include-online {self._save_dir}/wandb/run-*"
            self._warn(f"the server didn't take everything in time; upload it by: {upload}")
        except Exception:
            _tear_down()  # else W&B calls its dead process again when ours ends
            raise
        finally:
            self._experiment = None

    def _warn(self, message: str) -> None:
        if not self._warned:
            self._warned = True
            rank_zero_warn(f"W&B: {message}")


def _tear_down() -> None:
    with suppress(Exception, SystemExit):  # raised if its process has died
        wandb.teardown()
    wandb.run = None  # else the next logger would take this run, whose process has died
