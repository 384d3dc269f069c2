"""Where a run's numbers go: a CSV file for everybody, Weights & Biases for those who want more."""

import csv
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Any

import wandb
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.loggers.logger import DummyLogger, Logger, rank_zero_experiment
from lightning.pytorch.utilities.rank_zero import rank_zero_only, rank_zero_warn

from callbacks.best_effort import BestEffort
from runtime.errors import one_line
from runtime.tables import read_rows, write_rows

MEASURED_TIME = "time/"


class CSVFiles(Logger):
    """Writes `metrics.csv`, which a run reproduces to the bit, and `timing.csv`, which holds measured times.

    A row is on disk as soon as it is logged, or, where it can't be written, not at all, and a warning says so once. A
    resumed run goes on in the same files.

    Args:
        save_dir: the folder; the CLI puts the run's folder here.
    """

    def __init__(self, save_dir: str | None = None) -> None:
        super().__init__()
        self._folder = Path(save_dir or ".")
        self._metrics = _Table(self._folder / "metrics.csv")
        self._timing = _Table(self._folder / "timing.csv")
        self._tables = BestEffort("metrics.csv or timing.csv")

    @property
    def name(self) -> str:
        return ""

    @property
    def version(self) -> str:
        return ""

    @property
    def save_dir(self) -> str:
        return str(self._folder)

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """The run's `config.yaml` holds them."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        measured = {key: value for key, value in metrics.items() if key.startswith(MEASURED_TIME)}
        reproduced = {key: value for key, value in metrics.items() if key not in measured}
        with self._tables.attempt():
            if measured:
                self._timing.append({"step": step, **measured})
            if reproduced.keys() - {"epoch"}:
                self._metrics.append({"step": step, **reproduced})

    @rank_zero_only
    def forget_from(self, step: int) -> None:
        """Drops the rows of batch `step` and later, which a resumed run will write again."""
        self._metrics.keep_before(step)
        self._timing.keep_before(step)


class _Table:
    """A CSV file that grows by rows, and by columns when a row brings new ones."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._columns: list[str] | None = None

    def append(self, row: dict[str, Any]) -> None:
        if self._columns is None:
            self._columns = list(next(iter(self._rows()), ()))
        new = [column for column in row if column not in self._columns]
        if new:
            columns = [*self._columns, *new]
            write_rows(self.path, columns, [*self._rows(), row])
            self._columns = columns
        else:
            length = self.path.stat().st_size
            try:
                with self.path.open("a", newline="") as file:
                    csv.DictWriter(file, self._columns).writerow(row)
            except OSError:
                os.truncate(self.path, length)  # no half a row
                raise

    def keep_before(self, step: int) -> None:
        """Leaves the file as it was before batch `step`, without the columns that came later."""
        whole = [row for row in self._rows() if None not in row.values()]  # a dead battery may leave half a row
        rows = [row for row in whole if int(row["step"]) < step]
        self._columns = [column for column in (rows[0] if rows else ()) if any(row[column] for row in rows)]
        if rows:
            self._write([{column: row[column] for column in self._columns} for row in rows])
        else:
            self.path.unlink(missing_ok=True)

    def _rows(self) -> list[dict[str, Any]]:
        return read_rows(self.path)

    def _write(self, rows: list[dict[str, Any]]) -> None:
        assert self._columns is not None
        write_rows(self.path, self._columns, rows)


def _harmless(method: Callable[..., None]) -> Callable[..., None]:
    """Makes a warning of what a method of `WandbRun` raises."""

    @wraps(method)
    def guarded(self: "WandbRun", *args: Any, **kwargs: Any) -> None:
        try:
            method(self, *args, **kwargs)
        except Exception as error:
            self._tell(f"{one_line(error)}; something is not recorded")

    return guarded


class WandbRun(WandbLogger):
    """A Weights & Biases run that needs no account, and whose troubles don't reach the training.

    With a key (`wandb login`, `WANDB_API_KEY`) it goes online; without one it is recorded offline in the run's folder,
    never asks, and can be uploaded later by `wandb sync`. `WANDB_MODE` overrules both.

    With a bad key, or when the server doesn't answer within 10 s, the run is recorded offline under the same id. When
    the server fails later, everything is still kept in the run's folder; the end waits 10 s for what is not uploaded
    yet (10 minutes with `log_model`: checkpoints are large). `WANDB_INIT_TIMEOUT` and `WANDB_FINISH_TIMEOUT` overrule
    these waits, in seconds. Whatever W&B raises becomes a warning, one for a run.

    Args:
        project: the W&B project.
        save_dir: the folder for `wandb/`; the CLI puts the run's folder here.
        id: the run's identity, by which it is resumed; the CLI puts the run's id here.
        group: what runs are grouped by; the CLI puts the experiment here.
        tags: words to find the run by.
        log_model: upload checkpoints as artifacts.
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
        super().__init__(
            name=id,
            project=project,
            save_dir=save_dir or ".",
            id=id,
            mode=mode,
            log_model=log_model and mode == "online",
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
            _ = super().experiment
        except Exception as error:
            self._trouble = self._trouble or one_line(error)
            _tear_down()  # else the id counts as in use
            if self._wandb_init["mode"] != "offline":
                self._wandb_init["mode"], self._log_model = "offline", False
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


def _tear_down() -> None:
    with suppress(Exception, SystemExit):  # which it raises when its process has died
        wandb.teardown()
    wandb.run = None  # a run whose process has died stays there, and the next logger would take it
