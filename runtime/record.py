"""What a run remembers about itself besides its numbers."""

import sys
from contextlib import suppress

import torch
import yaml
from lightning.pytorch import Callback, LightningModule, Trainer

from runtime.errors import Stopped, UsageError
from runtime.loggers import CSVFiles
from runtime.run_folder import RunFolder


class RunRecord(Callback):
    """Keeps the config, and in `run.json` what the bits depend on besides it; hands both to the loggers.

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
        for logger in trainer.loggers:
            if isinstance(logger, CSVFiles):
                logger.forget_from(self.resumed_at)
            logger.log_hyperparams({**yaml.safe_load(self.config), "data_source": source})

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        if self._recording and not isinstance(exception, Stopped | KeyboardInterrupt):
            with suppress(OSError):  # what ended the run may be that nothing can be written
                self.folder.note(state="failed", step=max(trainer.global_step, self.resumed_at))
