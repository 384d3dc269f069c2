"""`twofold fit|validate|test|predict`: a LightningCLI that knows what a run is."""

import csv
import shutil
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NoReturn

import yaml
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.plugins import CheckpointIO

from callbacks import Checkpoints, PredictionFiles, Stopwatch
from networks.files import read_tensors, replacing
from runtime.checkpoint_io import AtomicCheckpointIO
from runtime.errors import UsageError, one_line
from runtime.loggers import CSVFiles
from runtime.progress import RunProgress
from runtime.quiet import hush
from runtime.record import RunRecord
from runtime.resuming import check_resumable
from runtime.run_folder import RunFolder

BASE_CONFIG = Path(__file__).parents[1] / "configs" / "base.yaml"


class NothingToDo(Exception):
    """The command is already fulfilled; the message says why."""


def run(arguments: list[str]) -> int:
    """Runs one of Lightning's subcommands and returns the exit code."""
    hush()
    try:
        with ExitStack() as stack:
            TwofoldCLI(arguments, stack)
    except NothingToDo as reason:
        print(reason)
    return 0


class _Parser(LightningArgumentParser):
    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        raise UsageError(message) from ex


class TwofoldCLI(LightningCLI):
    """Finds or makes the run's folder, fills it into the config, and keeps `config.yaml` there.

    Args:
        arguments: what stands behind `twofold` on the command line.
        stack: holds the lock on the run's folder for as long as the command runs.
    """

    folder: RunFolder | None = None

    def __init__(self, arguments: list[str], stack: ExitStack) -> None:
        self._stack = stack
        over_base = {name: {"default_config_files": [str(BASE_CONFIG)]} for name in self.subcommands()}
        super().__init__(
            LightningModule,
            LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            args=arguments,
            parser_class=_Parser,
            parser_kwargs={"prog": "twofold", **over_base},
            save_config_callback=None,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument("--experiment", type=str, help="The runs of one experiment share a folder by this name.")
        parser.add_lightning_class_args(Checkpoints, "checkpoint")
        parser.link_arguments("data.init_args.length", "model.init_args.horizon")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        self.config = parser.parse_args(args)

    def _parse_ckpt_path(self) -> None:
        """Lightning would merge the checkpoint's hyperparameters over the command line here; the config rules."""

    @property
    def settings(self) -> Any:
        """The config of this subcommand."""
        return self.config[self.subcommand]

    def before_instantiate_classes(self) -> None:
        given = [Path(str(path)) for path in self.settings.config or ()]
        if not given:
            raise UsageError(f"which experiment? write: twofold {self.subcommand} -c configs/palindrome_lstm.yaml")
        if self.subcommand == "fit":
            self._prepare_fit(given[-1])
        else:
            self._prepare_evaluation(given[-1])

    def _prepare_fit(self, config: Path) -> None:
        self._text = self._dump()
        if self.settings.trainer.fast_dev_run:
            return
        if self.settings.ckpt_path == "last":
            self.folder = self._run_of(config)
            self._stack.enter_context(self.folder.locked())
            self._go_on(self.folder)
        else:
            self.folder = RunFolder.create(self.settings.experiment)
            self._stack.enter_context(self.folder.locked())
        self._fill_in(self.folder)

    def _go_on(self, folder: RunFolder) -> None:
        before, now = yaml.safe_load(folder.config.read_text()), yaml.safe_load(self._text)
        for warning in check_resumable(before, now):
            print(f"twofold: {warning}", file=sys.stderr)
        longer = now["trainer"]["max_steps"] > before["trainer"]["max_steps"]
        if folder.facts.get("state") == "finished" and not longer:
            raise NothingToDo(
                f"this run is finished: {folder.step:,} batches, in {folder.path}; "
                f"to train on, add --trainer.max_steps with more than {before['trainer']['max_steps']}"
            )
        self.settings.ckpt_path = _newest_whole_checkpoint(folder)

    def _prepare_evaluation(self, config: Path) -> None:
        asked = self.settings.ckpt_path
        if asked is None:
            raise UsageError(f"{self.subcommand} needs trained weights: add --ckpt_path last, best or a file")
        if asked in ("last", "best"):
            checkpoint = self._run_of(config).checkpoint(asked)
            if checkpoint is None:
                raise UsageError(f"the run in {config.parent} has no {asked} checkpoint yet")
        else:
            checkpoint = Path(asked)
            if not checkpoint.is_file():
                raise UsageError(f"--ckpt_path {asked} is not a file; write last, best or a checkpoint's path")
        self.folder = RunFolder.of_checkpoint(checkpoint)
        self.settings.ckpt_path = str(checkpoint)
        self.settings.trainer.default_root_dir = str(self.folder.path if self.folder else checkpoint.parent)
        self.settings.trainer.logger = False

    def _run_of(self, config: Path) -> RunFolder:
        folder = RunFolder.of_config(config)
        if folder is None:
            raise UsageError(
                f"--ckpt_path {self.settings.ckpt_path} goes with a run's own config, but {config} is not one; "
                "write -c runs/…/config.yaml (`twofold runs` lists them)"
            )
        return folder

    def _fill_in(self, folder: RunFolder) -> None:
        """Tells the trainer and the loggers which run this is, wherever the config left it open."""
        trainer = self.settings.trainer
        trainer.default_root_dir = str(folder.path)
        loggers = trainer.logger if isinstance(trainer.logger, list) else [trainer.logger]
        identity = {"save_dir": str(folder.path), "id": folder.id, "group": self.settings.experiment}
        for logger in loggers:
            for name, value in identity.items():
                if hasattr(logger, "init_args") and name in logger.init_args and logger.init_args[name] is None:
                    logger.init_args[name] = value

    def instantiate_classes(self) -> None:
        try:
            super().instantiate_classes()
        except (ValueError, TypeError) as error:
            if self.folder is not None and not self.folder.config.exists():
                shutil.rmtree(self.folder.path)
            raise UsageError(one_line(error)) from error

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        config = {**self._get(self.config_init, "trainer"), **kwargs}
        callbacks = list(config["callbacks"] or ())
        if config["enable_progress_bar"] is not False:
            callbacks.append(RunProgress())
        if self.subcommand == "predict":
            callbacks.append(PredictionFiles())
        if self.subcommand == "fit" and self.folder is not None:
            callbacks += [Stopwatch(), RunRecord(self.folder, self._text)]
        if config["enable_checkpointing"] is not False:
            callbacks.append(self._get(self.config_init, "checkpoint"))
        plugins = config["plugins"] or []
        plugins = list(plugins) if isinstance(plugins, list) else [plugins]
        if not any(isinstance(plugin, CheckpointIO) for plugin in plugins):
            plugins.append(AtomicCheckpointIO())
        return self.trainer_class(**{**config, "callbacks": callbacks, "plugins": plugins})

    def before_fit(self) -> None:
        if self.folder is None:
            return
        with replacing(self.folder.config) as draft:
            draft.write_text(self._text)
        if self.settings.ckpt_path is not None:
            step = int(read_tensors(self.settings.ckpt_path)["global_step"])
            for logger in self.trainer.loggers:
                if isinstance(logger, CSVFiles):
                    logger.forget_from(step)

    def after_fit(self) -> None:
        if self.folder is not None and not self.trainer.interrupted:
            self.folder.note(state="finished", step=self.trainer.global_step)
            print(f"results in {self.folder.path}")

    def after_validate(self) -> None:
        self._write_metrics("validate.csv")

    def after_test(self) -> None:
        self._write_metrics("test.csv")

    def after_predict(self) -> None:
        print(f"predictions in {self.trainer.default_root_dir}")

    def _write_metrics(self, name: str) -> None:
        path = Path(self.trainer.default_root_dir) / name
        metrics = {key: float(value) for key, value in sorted(self.trainer.callback_metrics.items())}
        with replacing(path) as draft, draft.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["checkpoint", *metrics])
            writer.writerow([Path(self.settings.ckpt_path).name, *metrics.values()])
        print(f"metrics in {path}")

    def _dump(self) -> str:
        """The whole config as YAML, without what belongs to this one command."""
        settings = self.settings.clone()
        settings.ckpt_path = None
        return self._parser(self.subcommand).dump(settings, skip_none=False)


def _newest_whole_checkpoint(folder: RunFolder) -> str | None:
    """The newest checkpoint that can be read; each damaged one is passed over with a line that names it."""
    for path in folder.checkpoints():
        try:
            read_tensors(path)
        except ValueError as error:
            print(f"twofold: {error}; going back to the one before", file=sys.stderr)
        else:
            return str(path)
    return None
