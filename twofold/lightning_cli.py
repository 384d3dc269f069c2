"""`twofold fit|validate|test|predict`: a LightningCLI that knows what a run is."""

import inspect
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NoReturn

import yaml
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.plugins import CheckpointIO
from lightning.pytorch.utilities.exceptions import MisconfigurationException

import callbacks
import datamodules
import lightning_modules
from callbacks import Checkpoints, PredictionFiles, Timer
from common.seeding import HIGHEST_SEED
from lightning_modules.nan_check import NonFiniteError
from twofold.checkpoint_io import AtomicCheckpointIO, read_checkpoint
from twofold.config_files import read_config
from twofold.errors import NothingToDo, Stopped, UsageError, code_of, one_line
from twofold.first_process import Decision, Ended, Processes
from twofold.help import answer
from twofold.listing import resume_command
from twofold.parser_errors import condense
from twofold.progress import RunProgress
from twofold.provenance import CONFIGS
from twofold.resume import check_resumable, trains_longer
from twofold.run_folder import FACTS, RunFolder
from twofold.run_metadata import RunMetadata
from twofold.schedules import end_with_the_run, of_another_length
from twofold.signals import StopOnSignal, ended_by_sigterm, no_signals
from twofold.strategy import Launcher, tells_of_a_lost_process, use_ranks_strategy
from twofold.tables import write_rows
from twofold.unprofiled import Unprofiled
from twofold.validate_config import validate_config
from twofold.warning_filters import filter_warnings

BASE_CONFIG = CONFIGS / "base.yaml"
LINKED = {"length": "horizon", "target": "target"}
"""What the data says and the model takes from there."""
DATA_FACTS = ("length", "data_source")
NO_CHECKPOINT = {
    "last": "train it first, by twofold fit with the same -c and --ckpt_path last",
    "best": "one is kept where the config has a checkpoint.monitor, from the first validation on; write last",
}


def run(arguments: list[str]) -> int:
    """Runs one of Lightning's subcommands and returns the exit code."""
    filter_warnings()
    # Set by Lightning; torch then asks the driver for GPUs before every optimizer step, a quarter of a millisecond.
    os.environ.pop("PYTORCH_NVML_BASED_CUDA_CHECK", None)
    use_ranks_strategy()
    processes = Processes()
    try:
        with ExitStack() as stack, ended_by_sigterm():
            TwofoldCLI(arguments, stack, processes)
    except NothingToDo as reason:
        print(reason)
    except (UsageError, Stopped, KeyboardInterrupt) as error:
        if processes.is_first:
            raise
        # Which comes to all processes alike, and the first one says it.
        raise Ended(code_of(error)) from error
    return 0


class _Parser(LightningArgumentParser):
    """Takes no setting by the beginning of its name, and no config file that isn't one."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, allow_abbrev=False, **kwargs)

    def parse_path(self, path: str | os.PathLike[str], *args: Any, **kwargs: Any) -> Any:
        read_config(Path(path))
        return super().parse_path(path, *args, **kwargs)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        raise _ParserError(message) from ex


class _ParserError(Exception):
    """Carries the parser's message, which is then condensed."""


class TwofoldCLI(LightningCLI):
    """Finds or makes the run's folder, fills it into the config, and keeps `config.yaml` there.

    Args:
        arguments: what stands behind `twofold` on the command line.
        stack: holds the lock on the run's folder for as long as the command runs.
        processes: those that run this command together.
    """

    folder: RunFolder | None = None
    _is_new = False
    _trained = 0
    """Batches that the checkpoint had trained that is loaded."""

    def __init__(self, arguments: list[str], stack: ExitStack, processes: Processes) -> None:
        self._stack = stack
        self._processes = processes
        self._command = arguments[0]
        over_base = {self._command: {"default_config_files": [str(BASE_CONFIG)]}}
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

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]  # Lightning asks the object, not the class
        """The one that is asked for: parsers for the others would take a third of a second to make."""
        return {self._command: super().subcommands()[self._command]}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument("--experiment", type=str, help="The runs of one experiment share a folder by this name.")
        parser.add_argument(
            "--compile", type=bool, default=False, help="Compile the networks in place (torch.compile)."
        )
        parser.add_lightning_class_args(Checkpoints, "checkpoint")
        for data, model in LINKED.items():
            parser.link_arguments(f"data.init_args.{data}", f"model.init_args.{model}")

    def add_core_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        # What comes first is built first. The data refuses a length in words of its own; the model knows it as horizon.
        parser.add_lightning_class_args(Trainer, "trainer")
        parser.add_lightning_class_args(LightningDataModule, "data", subclass_mode=True)
        parser.add_lightning_class_args(LightningModule, "model", subclass_mode=True)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        if help_text := answer(args, self._subcommand_parsers[args[0]]):
            print(help_text, end="")
            raise SystemExit(0)
        # Only help makes sense without a config.
        if not any(argument.startswith(("-c", "--config")) or ".help" in argument for argument in args[1:]):
            raise UsageError(f"which experiment? write: twofold {args[0]} -c configs/palindrome_lstm.yaml")
        try:
            self.config = parser.parse_args(args)
        except _ParserError as error:
            raise UsageError(condense(str(error), _known_settings(self._subcommand_parsers[args[0]]))) from error
        given = {argument.partition("=")[0] for argument in args}
        for data, model in LINKED.items():
            if f"--model.{model}" in given and data in self.config[args[0]].data.get("init_args", {}):
                raise UsageError(f"--model.{model} is what the data says; write --data.{data}")

    def _parse_ckpt_path(self) -> None:
        """Lightning would merge the checkpoint's hyperparameters over the command line here; the config rules."""

    @property
    def settings(self) -> Any:
        """The config of this subcommand."""
        return self.config[self.subcommand]

    def before_instantiate_classes(self) -> None:
        self._text = self._dump()
        self._asked = yaml.safe_load(self._text)
        validate_config(self._asked)
        trainer = self.settings.trainer
        self._processes.refuse_other_number(trainer.devices, trainer.num_nodes)
        decided = self._processes.decide(self._decide)
        if not self._processes.is_first:
            self._follow(decided)

    def _decide(self) -> Decision:
        """Prepares the command, and says what the other processes have to know."""
        given = [Path(str(path)) for path in self.settings.config]
        if self.subcommand == "fit":
            self._prepare_fit(given[-1])
        else:
            self._prepare_evaluation(given[-1])
        return {
            "folder": str(self.folder.path) if self.folder else None,
            "default_root_dir": self.settings.trainer.default_root_dir,
            "ckpt_path": self.settings.ckpt_path,
        }

    def _follow(self, decided: Decision) -> None:
        """Does what the first process decided, without loggers of its own."""
        self.folder = RunFolder(Path(decided["folder"])) if decided["folder"] else None
        self.settings.trainer.default_root_dir = decided["default_root_dir"]
        self.settings.trainer.logger = False
        self.settings.ckpt_path = decided["ckpt_path"]

    def _prepare_fit(self, config: Path) -> None:
        if self.settings.trainer.fast_dev_run:
            if self.settings.ckpt_path is not None:
                raise UsageError("fast_dev_run tries the code out from fresh weights; leave --ckpt_path out")
            return
        requeued = RunFolder.of_requeued_job(self.settings.experiment, self._text)
        if self.settings.ckpt_path == "last" or (self.settings.ckpt_path is None and requeued):
            self.folder = requeued or self._run_of(config)
            self._stack.enter_context(self.folder.locked())
            self.folder.remove_drafts()
            self._go_on(self.folder)
        elif self.settings.ckpt_path is not None:
            raise UsageError(
                f"fit goes on with a whole run, not with {self.settings.ckpt_path}; "
                "write -c runs/…/config.yaml --ckpt_path last"
            )
        else:
            for line in of_another_length(self._asked):
                print(f"twofold: {line}", file=sys.stderr)
            self.folder = RunFolder.create(self.settings.experiment, self._text)
            self._is_new = True
            self._stack.enter_context(self.folder.locked())
        self._fill_in(self.folder)

    def _go_on(self, folder: RunFolder) -> None:
        before, now = self._completed(folder.config), self._asked
        for warning in check_resumable(before, now):
            print(f"twofold: {warning}", file=sys.stderr)
        if folder.facts.get("ended_by_itself"):
            raise NothingToDo(
                f"this run ended by itself after {folder.step:,} batches, in {folder.path}, and would again at once; "
                "to train with other settings, start a new one without --ckpt_path"
            )
        if folder.facts.get("state") == "finished" and not trains_longer(before, now):
            if end_with_the_run(before):
                advice = "its learning rates are at their end, so for a longer one start a new one without --ckpt_path"
            else:
                advice = f"to train on, add --trainer.max_steps with more than {before['trainer']['max_steps']}"
            raise NothingToDo(f"this run is finished: {folder.step:,} batches, in {folder.path}; {advice}")
        newest = _newest_whole_checkpoint(folder)
        if newest is not None:
            checkpoint, self._trained = newest
            self.settings.ckpt_path = str(checkpoint)
        else:
            self.settings.ckpt_path = None

    def _prepare_evaluation(self, config: Path) -> None:
        asked = self.settings.ckpt_path
        if asked is None:
            raise UsageError(f"{self.subcommand} needs trained weights: add --ckpt_path last, best or a file")
        if asked in ("last", "best"):
            run = self._run_of(config)
            newest = _newest_whole_checkpoint(run) if asked == "last" else None
            found = run.checkpoint(asked) if newest is None else newest[0]
            if found is None:
                raise UsageError(f"the run in {run.path} has no {asked} checkpoint; {NO_CHECKPOINT[asked]}")
            checkpoint = found
        else:
            newest, checkpoint = None, Path(asked)
            if not checkpoint.exists() and "://" not in asked:
                raise UsageError(f"--ckpt_path {asked} is not a file; write last, best or a checkpoint's path")
        try:
            self._trained = read_checkpoint(checkpoint)["global_step"] if newest is None else newest[1]
        except ValueError as error:
            raise UsageError(f"--ckpt_path: {error}") from error
        self.folder = RunFolder.of_checkpoint(checkpoint)
        self.settings.ckpt_path = str(checkpoint)
        self.settings.trainer.default_root_dir = str(self.folder.path if self.folder else checkpoint.parent)
        self.settings.trainer.logger = False

    def _run_of(self, config: Path) -> RunFolder:
        folder = RunFolder.of_config(config)
        if folder is None:
            if (config.absolute().parent / "checkpoints").is_dir():
                raise UsageError(
                    f"{config.parent / FACTS}, which says which run this is, is missing or damaged; put it back"
                )
            raise UsageError(
                f"--ckpt_path {self.settings.ckpt_path} goes with a run's own config, but {config} is not one; "
                "write -c runs/…/config.yaml (`twofold runs` lists them)"
            )
        return folder

    def _fill_in(self, folder: RunFolder) -> None:
        """Tells the trainer and the loggers which run this is, wherever the config left it open."""
        trainer = self.settings.trainer
        trainer.default_root_dir = str(folder.path)
        identity = {"save_dir": str(folder.path), "id": folder.id, "group": self.settings.experiment}
        for logger in _as_list(trainer.logger):
            for name, value in identity.items():
                if hasattr(logger, "init_args") and name in logger.init_args and logger.init_args[name] is None:
                    logger.init_args[name] = value

    def instantiate_classes(self) -> None:
        try:
            super().instantiate_classes()
            if self.settings.compile:
                self.model.compile()
        except (ValueError, TypeError, ImportError, MisconfigurationException) as error:
            self._leave_nothing()
            raise UsageError(condense(str(error), ())) from error

    def _leave_nothing(self) -> None:
        """Removes the folder that was made for this command."""
        if self._is_new and self.folder is not None:
            self.folder.discard()

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        config = {**self._get(self.config_init, "trainer"), **kwargs}
        watching = _as_list(config["callbacks"])
        if config["enable_progress_bar"] is not False:
            watching.append(RunProgress())
        if self.subcommand == "predict" and not config["fast_dev_run"]:
            watching.append(PredictionFiles())
        if self.subcommand == "fit" and self.folder is not None:
            watching.append(Timer())
            if self._processes.is_first:
                watching.append(RunMetadata(self.folder, self._text, self._trained))
        if config["enable_checkpointing"] is not False:
            checkpoints = self._get(self.config_init, "checkpoint")
            watching.append(checkpoints)
            if checkpoints.monitor is not None and not config["num_sanity_val_steps"]:
                config["num_sanity_val_steps"] = 1  # which tells a metric that nothing logs before training starts
        if self.subcommand == "fit" and self.folder is not None:
            watching.append(StopOnSignal(self.folder))
        plugins = _as_list(config["plugins"])
        if not any(isinstance(plugin, CheckpointIO) for plugin in plugins):
            plugins.append(AtomicCheckpointIO())
        profiler = config["profiler"] or Unprofiled()
        trainer = self.trainer_class(**{**config, "callbacks": watching, "plugins": plugins, "profiler": profiler})
        if isinstance(trainer.strategy.launcher, Launcher):
            self._stack.callback(trainer.strategy.launcher.end)
            no_signals(trainer)
        return trainer

    def fit(self, **kwargs: Any) -> None:
        """Trains. What is refused, fails or is interrupted before the first batch leaves no run behind.

        Nor does what is refused in it, such as images of another size than the networks'.
        """
        try:
            self.trainer.fit(**kwargs)
        except BaseException as error:
            goes_on = self._processes.is_first and not self._is_new
            begun = goes_on or self.trainer.fit_loop.total_batch_idx >= 0
            wrong = isinstance(error, ValueError | MisconfigurationException)
            refused = wrong and not goes_on and self.trainer.global_step == 0
            if refused or not begun:
                self._leave_nothing()
            match error:
                case SystemExit():  # Lightning's answer to Ctrl-C, of which StopOnSignal knows only later
                    raise KeyboardInterrupt from None
                case _ if refused:
                    raise UsageError(one_line(error)) from error
                case NonFiniteError() if not self._processes.is_first:
                    raise Ended(1) from error
                case NonFiniteError():
                    raise RuntimeError(
                        f"{error}{self._what_is_left()}. The same settings come to the same end: "
                        "start a new run with a lower learning rate, say, or clipped gradients"
                    ) from error
                case OSError() if begun and self.folder is not None:
                    again = f"when that is mended, go on with: {resume_command(self.folder)}"
                    raise RuntimeError(f"{one_line(error)}{self._what_is_left()}; {again}") from error
                case RuntimeError() if tells_of_a_lost_process(error):
                    raise self._lost(self._what_is_left()) from error
            raise

    def _lost(self, what_is_left: str = "") -> BaseException:
        """To be raised where another process has died."""
        if not self._processes.is_heard:
            return Ended(1)
        return RuntimeError(f"another process of this run has died, or answers no more{what_is_left}")

    def _what_is_left(self) -> str:
        newest = next(iter(self.folder.checkpoints()), None) if self.folder is not None else None
        return "; there is no checkpoint yet" if newest is None else f"; the last good checkpoint is {newest}"

    def after_fit(self) -> None:
        if self._processes.is_first and self.folder is not None and not self.trainer.interrupted:
            by_itself = self.trainer.should_stop or None
            self.folder.note(state="finished", step=self.trainer.global_step, ended_by_itself=by_itself)
            if by_itself:
                print(f"training ended by itself after {self.trainer.global_step:,} batches")
            print(f"results in {self.folder.path}")

    def validate(self, **kwargs: Any) -> None:
        self._evaluate(self.trainer.validate, kwargs)

    def test(self, **kwargs: Any) -> None:
        self._evaluate(self.trainer.test, kwargs)

    def predict(self, **kwargs: Any) -> None:
        self._evaluate(self.trainer.predict, kwargs)

    def _evaluate(self, command: Callable[..., Any], kwargs: dict[str, Any]) -> None:
        try:
            command(**kwargs)
        except RuntimeError as error:
            if tells_of_a_lost_process(error):
                raise self._lost() from error
            if "loading state_dict" not in str(error):
                raise
            saved = read_checkpoint(self.settings.ckpt_path).get("hyper_parameters", {})
            raise UsageError(
                f"the weights in {self.settings.ckpt_path} don't fit the model of this config"
                f"{_differences(saved, self.model.hparams)}; write -c with the config.yaml of the checkpoint's own run"
            ) from error

    def after_validate(self) -> None:
        self._write_metrics("validate.csv")

    def after_test(self) -> None:
        self._write_metrics("test.csv")

    def after_predict(self) -> None:
        if self._processes.is_first and not self.settings.trainer.fast_dev_run:
            print(f"predictions in {self.trainer.default_root_dir}")

    def _write_metrics(self, name: str) -> None:
        """Writes one row: which weights, on which data, and the metrics."""
        if self.settings.trainer.fast_dev_run or not self._processes.is_first:
            return
        path = Path(self.trainer.default_root_dir) / name
        checkpoint = Path(self.settings.ckpt_path)
        row = {"checkpoint": checkpoint.name, "step": self._trained}
        row |= {fact: getattr(self.datamodule, fact) for fact in DATA_FACTS if hasattr(self.datamodule, fact)}
        row |= {key: float(value) for key, value in sorted(self.trainer.callback_metrics.items())}
        write_rows(path, list(row), [row])
        print(f"metrics in {path}")

    def _set_seed(self) -> None:
        seed = self.settings.seed_everything
        if seed is not True and (seed is False or not 0 <= seed <= HIGHEST_SEED):
            raise UsageError(f"--seed_everything can't be {seed}; write a whole number from 0 to {HIGHEST_SEED}")
        super()._set_seed()

    def _completed(self, config: Path) -> dict[str, Any]:
        """A run's own config; a setting that it doesn't know, for it came with a later version, has its default."""
        parser = self._parser(self.subcommand)
        completed: dict[str, Any] = yaml.safe_load(parser.dump(parser.parse_path(config), skip_unset=False))
        return completed

    def _dump(self) -> str:
        """The whole config as YAML, without what belongs to this one command."""
        settings = self.settings.clone()
        settings.ckpt_path = None
        config: str = self._parser(self.subcommand).dump(settings, skip_unset=False)
        return config


def _as_list(given: Any) -> list[Any]:
    """A setting that takes one thing, a list of them, or null."""
    return [] if given is None else list(given) if isinstance(given, list) else [given]


def _known_settings(parser: LightningArgumentParser) -> Iterator[str]:
    """The settings of our own classes and of the trainer, as people type them, without the dashes."""
    yield from (action.dest for action in parser._actions if not action.dest.endswith(".help"))
    for group, package in (("data", datamodules), ("model", lightning_modules), ("trainer.callbacks", callbacks)):
        for name in package.__all__:
            yield from (f"{group}.{argument}" for argument in inspect.signature(getattr(package, name)).parameters)


def _differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """The numbers and names in which two models of one kind differ, such as ": hidden_size is 64 there and 32 here"."""
    told = [
        f"{name} is {there[name]} there and {here[name]} here"
        for name in here
        if name in there and there[name] != here[name] and isinstance(here[name], int | float | str)
    ]
    return f": {', '.join(told)}" if told else ""


def _newest_whole_checkpoint(folder: RunFolder) -> tuple[Path, int] | None:
    """The newest checkpoint that can be read, and the batches it had trained.

    Each damaged one is passed over with a line that names it.

    Raises:
        UsageError: when there are some, but none is whole.
    """
    candidates = [*folder.checkpoints(), *filter(None, [folder.checkpoint("last")])]
    for path in candidates:
        try:
            return path, read_checkpoint(path)["global_step"]
        except ValueError as error:
            print(f"twofold: {error}; passed over", file=sys.stderr)
    if candidates:
        raise UsageError(
            f"none of the checkpoints in {folder.path} is whole, and nothing there was changed; "
            "start a new run without --ckpt_path"
        )
    return None
