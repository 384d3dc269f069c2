"""`twofold fit|validate|test|predict`: a LightningCLI whose runs have a folder."""

import os
import signal
from argparse import ArgumentError
from contextlib import ExitStack
from datetime import timedelta
from functools import partial, partialmethod
from pathlib import Path
from typing import Any, Literal

import torch
import yaml
from lightning.fabric.plugins.environments import SLURMEnvironment
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.callbacks import Timer as TimeLimit
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.strategies import DDPStrategy, StrategyRegistry
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from callbacks import Checkpoints, PostponedStop, PredictionFiles, Timer
from callbacks.batches import batches_trained
from twofold.busy import BusyMachine
from twofold.checkpoint_io import AtomicCheckpointIO
from twofold.choose_run import Run, choose_run, choose_weights
from twofold.config_checks import LINKED, UNKNOWN, apply_links, check_config, check_null, check_processes
from twofold.endings import raise_evaluation_error, raise_fit_error, what_ended
from twofold.errors import NothingToDo, Stopped, UsageError
from twofold.hooks import SkipEmptyHooks, Unprofiled
from twofold.loggers import identify_loggers, take_wandb_variables
from twofold.parser import Parser, condense, expand_home, expand_names, fill_schedule_lengths
from twofold.progress import RunProgress
from twofold.provenance import CONFIGS
from twofold.ranks import is_rank_zero
from twofold.resume_checks import ResumeChecks
from twofold.run_folder import RunFolder
from twofold.run_metadata import RunMetadata, write_metrics
from twofold.signals import StopOnSignal, stop_on_sigterm
from twofold.threads import is_on_cpu, use_threads
from twofold.warning_filters import filter_warnings


def run(arguments: list[str]) -> int:
    """Runs one of Lightning's subcommands and returns the exit code.

    Where several processes run the command, rank 0 alone prints. The others exit with 0 if rank 0 ends in the same
    way: after any other code Lightning's launcher would kill rank 0.
    """
    filter_warnings()
    # Lightning sets this; torch then asks the driver for GPUs before each optimizer step, which takes 0.24 ms.
    os.environ.pop("PYTORCH_NVML_BASED_CUDA_CHECK", None)
    before = signal.signal(signal.SIGTERM, stop_on_sigterm)
    try:
        with ExitStack() as stack:
            TwofoldCLI(expand_names(arguments), stack)
    except NothingToDo as reason:
        rank_zero_only(print)(reason)
    except (UsageError, Stopped, KeyboardInterrupt, FloatingPointError):
        if is_rank_zero():
            raise
    finally:
        signal.signal(signal.SIGTERM, before)
    return 0


class TwofoldCLI(LightningCLI):
    """Chooses or makes the run's folder, and resumes from its checkpoints.

    Args:
        arguments: those of the command line, without `twofold`.
        stack: holds the lock on the run's folder, and the number of threads, while the command runs.
    """

    run: Run

    def __init__(self, arguments: list[str], stack: ExitStack) -> None:
        self._stack = stack
        self._command = arguments[0]
        super().__init__(
            LightningModule,
            LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            args=arguments,
            parser_class=Parser,
            parser_kwargs={"prog": "twofold", self._command: {"default_config_files": [str(CONFIGS / "base.yaml")]}},
            save_config_callback=None,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
        )

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]  # static in Lightning
        """Returns the requested subcommand only; each parser takes a tenth of a second to build."""
        return {self._command: super().subcommands()[self._command]}

    def add_core_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        # In this order the data is built, and checks its arguments, before the model gets some of them.
        parser.add_lightning_class_args(Trainer, "trainer")
        parser.add_lightning_class_args(LightningDataModule, "data", subclass_mode=True)
        parser.add_lightning_class_args(LightningModule, "model", subclass_mode=True)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument("--experiment", type=str, help="The folder below runs/ that holds this experiment's runs.")
        parser.add_argument(
            "--threads", type=int | Literal["auto"], default="auto", help="Threads on the CPU; auto leaves a core free."
        )
        parser.add_argument("--compile", type=bool, default=False, help="Compile the networks by torch.compile.")
        parser.add_lightning_class_args(Checkpoints, "checkpoint")
        for data, model in LINKED:
            given = partial(_unless_none, UNKNOWN[data])
            parser.link_arguments(f"data.init_args.{data}", f"model.init_args.{model}", given)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        try:
            self.config = parser.parse_args(args)
        except UnicodeDecodeError as error:
            raise UsageError("the config isn't UTF-8 text; -c takes a YAML file, --ckpt_path a checkpoint") from error
        except ArgumentError as error:
            raise UsageError(condense(error, self._subcommand_parsers[args[0]], args[1:])) from error
        check_null(self.settings)
        apply_links(self.settings, args)
        expand_home(self.settings)
        check_config(yaml.safe_load(self._dump()))
        fill_schedule_lengths(self.settings)

    def _parse_ckpt_path(self) -> None:
        """Does nothing: Lightning would merge the checkpoint's hyperparameters over the command line here."""

    @property
    def settings(self) -> Any:
        """The config of this subcommand."""
        return self.config[self._command]

    def before_instantiate_classes(self) -> None:
        trainer = self.settings.trainer
        take_wandb_variables(trainer.logger)
        use_threads(self.settings, self._stack)
        self._text = self._dump()
        if self._command == "fit":
            self.run = choose_run(self.settings, self._text, self._own_config, self._stack)
        else:
            self.run = choose_weights(self._command, self.settings)
        if self.run.folder is not None and (self._command == "fit" or trainer.default_root_dir is None):
            trainer.default_root_dir = str(self.run.folder.path)
        self.settings.ckpt_path = str(self.run.checkpoint) if self.run.checkpoint else None
        if self._command != "fit" or not is_rank_zero():
            trainer.logger = False
        elif self.run.folder is not None:
            identify_loggers(trainer.logger, self.run.folder, self.settings.experiment)

    def _own_config(self, folder: RunFolder) -> dict[str, Any]:
        """The run's own config; settings that came with a later version have their defaults."""
        parser = self._parser(self._command)
        own: dict[str, Any] = yaml.safe_load(parser.dump(parser.parse_path(folder.config), skip_unset=False))
        return own

    def instantiate_classes(self) -> None:
        try:
            super().instantiate_classes()
            if self.settings.compile:
                self.model.compile()
        except BaseException as error:
            self.run.discard_if_new()
            if isinstance(error, ValueError | TypeError | ImportError | RuntimeError | MisconfigurationException):
                raise UsageError(condense(error)) from error
            raise

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        config = {**self._get(self.config_init, "trainer"), **kwargs}
        callbacks, plugins = _as_list(config["callbacks"]), _as_list(config["plugins"])
        if config["enable_progress_bar"] is not False and not any(isinstance(each, ProgressBar) for each in callbacks):
            callbacks.append(RunProgress())
        if self._command == "predict" and not config["fast_dev_run"]:
            callbacks.append(PredictionFiles())
        if self._command == "fit" and not config["fast_dev_run"]:
            callbacks.append(ResumeChecks(resumes=self.run.checkpoint is not None))
            if config["min_steps"] or config["min_epochs"]:
                # The Trainer would append its timer behind PostponedStop.
                callbacks += [TimeLimit(config["max_time"])] if config["max_time"] else []
                callbacks.append(PostponedStop())
            if self.run.folder is not None and self.settings.threads > 1 and is_on_cpu(config["accelerator"]):
                callbacks.insert(0, BusyMachine(self.run.folder))
            callbacks = [StopOnSignal(self.run.folder), *callbacks, Timer(), RunMetadata(self.run, self._text)]
            callbacks.append(SkipEmptyHooks())
        if config["enable_checkpointing"] is not False:
            callbacks.append(checkpoints := self._get(self.config_init, "checkpoint"))
            if checkpoints.monitor is not None:  # a sanity check finds out whether something logs it
                config["num_sanity_val_steps"] = config["num_sanity_val_steps"] or 1
        plugins.append(AtomicCheckpointIO())
        if SLURMEnvironment.detect():
            plugins.append(SLURMEnvironment(auto_requeue=False))  # see StopOnSignal
        config |= {"callbacks": callbacks, "plugins": plugins, "profiler": config["profiler"] or Unprofiled()}
        # Trainer(strategy="auto") looks up "ddp" for several processes. Where optimization is manual, each backward
        # leaves out the other network's parameters.
        find_unused = not self.model.automatic_optimization
        ddp = partial(DDPStrategy, find_unused_parameters=find_unused, timeout=timedelta(minutes=10))
        StrategyRegistry.register("ddp", ddp, override=True)
        config["sync_batchnorm"] |= torch.cuda.is_available() and config["accelerator"] != "cpu"
        check_processes(trainer := self.trainer_class(**config))
        return trainer

    def fit(self, **kwargs: Any) -> None:
        """Trains. What is refused, fails or is interrupted before the first step leaves no folder behind."""
        try:
            self.trainer.fit(**kwargs)
        except BaseException as error:
            trained = self.trainer.fit_loop.total_batch_idx >= 0 or not self.run.is_new
            refused = isinstance(error, ValueError | MisconfigurationException) and self.trainer.global_step == 0
            if not trained or refused:
                self.run.discard_if_new()
            raise_fit_error(error, self.run.folder, refused, trained)

    def _evaluate(self, command: str, **kwargs: Any) -> None:
        shows = bool(kwargs.get("verbose")) and not self.settings.trainer.fast_dev_run
        kwargs |= {"verbose": False} if shows else {}  # Lightning's tables have a column for each loader
        try:
            getattr(self.trainer, command)(**kwargs)
        except (RuntimeError, ValueError, SystemExit) as error:
            raise_evaluation_error(error, self.settings.ckpt_path, self.model)
        if not is_rank_zero() or self.settings.trainer.fast_dev_run:
            return
        path = Path(self.trainer.default_root_dir)
        if command == "predict":
            print(f"predictions in {path}")
        else:
            write_metrics(path / f"{command}.csv", self.run, self.trainer, shows)

    validate = partialmethod(_evaluate, "validate")
    test = partialmethod(_evaluate, "test")
    predict = partialmethod(_evaluate, "predict")

    def after_fit(self) -> None:
        if is_rank_zero() and self.run.folder is not None:
            steps, ended_by = batches_trained(self.trainer), what_ended(self.trainer, self.settings.trainer.max_time)
            self.run.folder.note(state="finished", step=steps, ended_by=ended_by)
            if "callbacks" in ended_by:
                print(f"a callback stopped training after {steps:,} batches")
            print(f"results in {self.run.folder.path}")

    def _dump(self) -> str:
        """The whole config as YAML, without what belongs to this command only."""
        settings = self.settings.clone()
        settings.ckpt_path = settings.trainer.default_root_dir = None
        config: str = self._parser(self._command).dump(settings, skip_unset=False)
        return config


def _unless_none(instead: Any, value: Any) -> Any:
    return instead if value is None else value


def _as_list(given: Any) -> list[Any]:
    """A setting that may be one thing, a list of things, or null."""
    return [] if given is None else list(given) if isinstance(given, list) else [given]
