"""What a run remembers about itself besides its numbers."""

import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning.pytorch import Callback, LightningModule, Trainer

from callbacks.generative_metrics import BEST_GENERATOR_FILE
from callbacks.interpolation_strip import GENERATOR_FILE
from twofold.errors import Stopped, UsageError
from twofold.loggers import CSVLogger, TwofoldWandbLogger
from twofold.provenance import code_version, parameter_counts, versions
from twofold.run_folder import RunFolder


class RunMetadata(Callback):
    """Keeps the config, and in `run.json` what the bits depend on besides it.

    Hands the loggers the config with what else tells of the run: the data's source, threads, processes and device,
    versions, the code's git commit, and how many parameters there are. A Weights & Biases run gets tags by experiment,
    module and data source, after a resume what the run had logged before, and at the end what was trained.

    A run that can't go on with what is there now is refused before anything in its folder changes.

    Args:
        folder: the run's.
        config: the whole config as YAML.
        resumed_at: the batch from which the run goes on; 0 for a new one.
    """

    def __init__(self, folder: RunFolder, config: str, resumed_at: int) -> None:
        self.folder = folder
        self.config = config
        self.resumed_at = resumed_at
        self._recording = False

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        before = self.folder.facts
        source = getattr(getattr(trainer, "datamodule", None), "data_source", None)
        if before.get("data_source", source) != source:
            raise UsageError(
                f"this run was trained on {before['data_source']} data, but {source} data is what is there now; "
                "put the data back, say by --data.root, or start a new run without --ckpt_path"
            )
        threads = torch.get_num_threads()
        if before.get("threads", threads) != threads:
            print(
                f"twofold: this run had {before['threads']} threads and now has {threads}: "
                "the same bits are not promised",
                file=sys.stderr,
            )
        self._recording = True
        self.folder.note(state=None, step=None, data_source=source, threads=threads)
        self.folder.keep_config(self.config)
        story = {**yaml.safe_load(self.config), **_facts(trainer, pl_module), "data_source": source}
        before_resume: list[dict[str, float]] = []
        for logger in trainer.loggers:
            if isinstance(logger, CSVLogger):
                logger.forget_from(self.resumed_at)
                before_resume = list(logger.rows())
        for logger in trainer.loggers:
            logger.log_hyperparams(story)
            if isinstance(logger, TwofoldWandbLogger):
                logger.tag(filter(None, (story["experiment"], type(pl_module).__name__, source)))
                logger.recall(before_resume)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for logger in trainer.loggers:
            if isinstance(logger, TwofoldWandbLogger):
                for weights in _trained(self.folder):
                    logger.keep_model(weights)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        if self._recording and not isinstance(exception, Stopped | KeyboardInterrupt):
            with suppress(OSError):  # what ended the run may be that nothing can be written
                self.folder.note(state="failed", step=max(trainer.global_step, self.resumed_at))


def _facts(trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
    """What the numbers depend on besides the config, and how much is trained."""
    return {
        "device": pl_module.device.type,
        "processes": trainer.world_size,
        "threads": torch.get_num_threads(),
        "versions": versions(),
        "git": code_version(),
        "parameters": parameter_counts(pl_module),
    }


def _trained(folder: RunFolder) -> Iterator[Path]:
    """The generator files; of a run that has none the best checkpoint, or the last."""
    generators = [folder.path / name for name in (GENERATOR_FILE, BEST_GENERATOR_FILE)]
    found = [path for path in generators if path.exists()]
    yield from found or filter(None, [folder.checkpoint("best") or folder.checkpoint("last")])
