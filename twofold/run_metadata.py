"""What a run records about itself besides its metrics."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch import Callback, LightningModule, Trainer

from callbacks.batches import batches_trained
from callbacks.generative_metrics import BEST_GENERATOR_FILE
from callbacks.interpolation_strip import GENERATOR_FILE
from twofold.choose_run import Run
from twofold.errors import Stopped, UsageError
from twofold.loggers import CSVLogger, TwofoldWandbLogger
from twofold.provenance import code_version, parameter_counts, versions
from twofold.ranks import warn
from twofold.resume import schedule_lengths, typed
from twofold.run_folder import RunFolder
from twofold.tables import write_rows


class RunMetadata(Callback):
    """Records the config, and in `run.json` what the bits depend on besides it.

    The loggers get the config together with the data's source, processes and device, versions, the git commit and the
    parameter counts. A Weights & Biases run gets tags by experiment, module and data source, after a resume the summary
    of the earlier rows, and at the end the trained weights.

    All ranks use this callback, and refuse together what can't be resumed; only rank 0 writes.

    Args:
        run: the folder, and the checkpoint to resume from.
        config: the whole config as YAML.

    Raises:
        UsageError: if the ranks don't resume from the same checkpoint, or a resumed run would use other data.
    """

    def __init__(self, run: Run, config: str) -> None:
        self.folder = run.folder
        self.run = run
        self.config = config
        self._recording = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        # There is no process group before this hook, so each rank has chosen its checkpoint by itself.
        first: Run = trainer.strategy.broadcast(self.run)
        agree = (first.checkpoint, first.step) == (self.run.checkpoint, self.run.step)
        if not trainer.strategy.reduce_boolean_decision(agree):
            raise UsageError("the processes found different checkpoints; start them in one shared folder")
        self.folder = first.folder

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert self.folder is not None
        before = self.folder.facts
        source = getattr(getattr(trainer, "datamodule", None), "data_source", None)
        if before.get("data_source", source) != source:
            raise UsageError(
                f"this run was trained on {before['data_source']} data, but only {source} data is here; "
                "put the data back, for example by --data.root, or start a new run without --ckpt_path"
            )
        if not trainer.is_global_zero:
            return
        self._recording = True
        self.folder.note(state=None, step=None, ended_by=None, data_source=source)
        self.folder.keep_config(self.config)
        metadata = {
            **yaml.safe_load(self.config),
            "data_source": source,
            "device": pl_module.device.type,
            "processes": trainer.world_size,
            "versions": versions(),
            "git": code_version(),
            "parameters": parameter_counts(pl_module),
        }
        before_resume: list[dict[str, float]] = []
        for logger in trainer.loggers:
            if isinstance(logger, CSVLogger):
                logger.present_step = lambda: max(trainer.fit_loop.total_batch_idx, 0)
                logger.drop_from(self.run.step)
                before_resume = list(logger.rows())
        for logger in trainer.loggers:
            logger.log_hyperparams(metadata)
            if isinstance(logger, TwofoldWandbLogger):
                logger.add_tags(filter(None, (metadata["experiment"], type(pl_module).__name__, source)))
                logger.log_again(before_resume)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.run.checkpoint is None and trainer.is_global_zero:
            batches, lengths = trainer.estimated_stepping_batches, schedule_lengths(yaml.safe_load(self.config))
            other = [f"{typed(key)} is {length:,} batches" for key, length in lengths.items() if length != batches]
            if other:
                warn(f"{' and '.join(other)}, but the run has {batches:,}; write {batches} to end with the run")

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for logger in trainer.loggers:
            if isinstance(logger, TwofoldWandbLogger) and self.folder is not None:
                for weights in _weights(self.folder):
                    logger.keep_model(weights)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        if self._recording and self.folder is not None and not isinstance(exception, Stopped | KeyboardInterrupt):
            with suppress(OSError):  # the run may have ended because nothing can be written
                step = max(batches_trained(trainer), self.run.step)
                self.folder.note(state="failed", step=step)


def write_metrics(path: Path, run: Run, trainer: Trainer, shows: bool) -> None:
    """Writes the metrics of `validate` or `test` as one row, which also names the weights and the data.

    Warns if the run was trained on other data.

    Args:
        shows: whether to print them as well, one per line.
    """
    assert run.checkpoint is not None
    row: dict[str, Any] = {"checkpoint": run.checkpoint.name, "step": run.step}
    data = getattr(trainer, "datamodule", None)
    row |= {name: getattr(data, name) for name in ("length", "data_source") if hasattr(data, name)}
    row |= {name: float(value) for name, value in sorted(trainer.callback_metrics.items())}
    write_rows(path, list(row), [row])
    source = row.get("data_source")
    if run.folder is not None and (before := run.folder.facts.get("data_source", source)) != source:
        warn(f"this run was trained on {before} data, and this is {source} data, of which it may have seen a part")
    width = max(map(len, trainer.callback_metrics), default=0)
    for name, value in trainer.callback_metrics.items() if shows else ():
        print(f"{name:{width}}  {float(value):.4g}")
    print(f"metrics in {path}")


def _weights(folder: RunFolder) -> Iterator[Path]:
    """The generator files; without any the best checkpoint, or the last one."""
    generators = [folder.path / name for name in (GENERATOR_FILE, BEST_GENERATOR_FILE)]
    found = [path for path in generators if path.exists()]
    yield from found or filter(None, [folder.checkpoint("best") or folder.checkpoint("last")])
