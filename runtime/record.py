"""What a run remembers about itself besides its numbers."""

import sys

import torch
import yaml
from lightning.pytorch import Callback, LightningModule, Trainer

from runtime.errors import UsageError
from runtime.run_folder import RunFolder


class RunRecord(Callback):
    """Keeps in `run.json` what the bits depend on besides the config, and hands the config to the loggers.

    Args:
        folder: the run's.
        config: the whole config as YAML.
    """

    def __init__(self, folder: RunFolder, config: str) -> None:
        self.folder = folder
        self.config = config

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
        self.folder.note(state=None, step=None, data_source=source, threads=threads)
        for logger in trainer.loggers:
            logger.log_hyperparams({**yaml.safe_load(self.config), "data_source": source})

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        if not isinstance(exception, KeyboardInterrupt):
            self.folder.note(state="failed", step=trainer.global_step)
