"""What `twofold fit --help` says: the settings of our own classes in their docstrings' words, Lightning's in short."""

import inspect
import itertools
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import docstring_parser
from lightning.pytorch import LightningDataModule, LightningModule
from lightning.pytorch.cli import LightningArgumentParser

import callbacks
import datamodules
import lightning_modules

WIDTH, INDENT, COLUMN = 110, 2, 30
"""In characters; descriptions begin in this column."""
KINDS = {"model": (lightning_modules, LightningModule), "data": (datamodules, LightningDataModule)}
ABOUT = {
    "fit": "Trains what a config says, in a new run under runs/ or $TWOFOLD_RUNS, or goes on with a run.",
    "validate": "Measures trained weights on the validation data.",
    "test": "Measures trained weights on the test data.",
    "predict": "Writes a trained network's predictions, or a generator's images, into its run's folder.",
}
EXAMPLES = {
    "fit": (
        "configs/palindrome_lstm.yaml --data.length 50 --model.init chrono",
        "configs/gan.yaml --trainer.max_steps 1000",
        "runs/gan/RUN/config.yaml --ckpt_path last",
    )
}
OF_A_RUN = ("runs/gan/RUN/config.yaml --ckpt_path last",)
WORDS = {
    "config": "a file of configs/, or the config.yaml of a run",
    "print_config": "show the whole config, to which the other arguments come, and end",
    "seed_everything": "from which every random number of a run follows; true draws one",
    "ckpt_path": "with a run's config.yaml: last is its newest checkpoint; where nothing trains, also best, or a file",
    "trainer.max_steps": "stop after so many batches; -1 for no limit",
    "trainer.min_steps": "and not before so many",
    "trainer.strategy": "how many processes train together; auto knows",
    "trainer.limit_train_batches": "of each epoch, so many batches (a whole number) or such a share (a fraction)",
    "trainer.limit_val_batches": "likewise of a validation",
    "trainer.limit_test_batches": "likewise of a test",
    "trainer.limit_predict_batches": "likewise of a prediction",
    "trainer.fast_dev_run": "only try the code out, with one batch of everything (true) or so many; nothing is kept",
    "trainer.logger": "where numbers and pictures go; false for nowhere",
}
"""Instead of Lightning's."""
UNSAID = {
    "help",
    "weights_only",
    "trainer.accumulate_grad_batches",
    "trainer.barebones",
    "trainer.default_root_dir",
    "trainer.enable_autolog_hparams",
    "trainer.model_registry",
    "trainer.reload_dataloaders_every_n_epochs",
    "trainer.sync_batchnorm",
    "trainer.use_distributed_sampler",
    *("checkpoint", "data", "model", "trainer"),
}
"""What this house does by itself or refuses, and files that hold a whole group."""

Entry = tuple[str, str, Any]
"""A setting's name, what it means, and its default."""


def answer(arguments: Sequence[str], parser: LightningArgumentParser) -> str | None:
    """What is said to who asks for help; None to others, and about a class that isn't ours.

    Args:
        arguments: behind `twofold`; the first is the command, of which `parser` is the parser.
    """
    command, *rest = arguments
    words = [word for argument in rest for word in argument.split("=", 1)]
    if {"-h", "--help"} & set(words):
        return page(command, parser)
    for group in KINDS:
        for option, name in itertools.pairwise(words):
            if option == f"--{group}.help" and name in _classes(group):
                return about(group, _classes(group)[name]) + "\n"
    return None


def page(command: str, parser: LightningArgumentParser) -> str:
    """All settings of a command."""
    examples = [f"  twofold {command} -c {example}" for example in EXAMPLES.get(command, OF_A_RUN)]
    ours: list[Entry] = []
    trainers: list[Entry] = []
    defaults = parser.get_defaults()
    for action in parser._actions:
        if action.dest not in UNSAID and not action.dest.endswith(".help"):
            words = WORDS.get(action.dest) or _first_sentence(action.help or "")
            of_trainer = action.dest.startswith("trainer.")
            name = "-c, --config" if action.dest == "config" else f"--{action.dest}"
            (trainers if of_trainer else ours).append((name, words, defaults.get(action.dest)))
    sections = [
        f"usage: twofold {command} -c CONFIG [--any.setting VALUE ...]",
        ABOUT[command],
        "\n".join(["examples:", *examples]),
        "What stands behind the config overrules it. In brackets: what a setting is where no config says otherwise.",
        _section("the run", ours),
    ]
    sections += [about(group, kind) for group in KINDS for kind in _classes(group).values()]
    watching = [(f"callbacks.{name}", _first_line(getattr(callbacks, name)), None) for name in callbacks.__all__]
    sections += [
        _section("callbacks, added by --trainer.callbacks+=NAME; --trainer.callbacks.help NAME tells more", watching),
        _section("the trainer, which is Lightning's", trainers),
    ]
    return "\n\n".join(sections) + "\n"


def about(group: str, kind: type) -> str:
    """The settings of a class of ours.

    Args:
        group: model or data.
    """
    title = f"the {group}, where the config says {kind.__name__}: {_first_line(kind)}"
    return _section(title, [(f"--{group}.{name}", words, default) for name, words, default in _arguments(kind)])


def _classes(group: str) -> dict[str, type]:
    package, base = KINDS[group]
    everything = {name: getattr(package, name) for name in package.__all__}
    return {name: one for name, one in everything.items() if isinstance(one, type) and issubclass(one, base)}


def _arguments(kind: type) -> Iterator[Entry]:
    described = docstring_parser.parse(inspect.getdoc(kind) or "").params
    words = {name: one.description or "" for one in described for name in one.arg_name.split(", ")}
    for name, parameter in inspect.signature(kind).parameters.items():
        yield name, " ".join(words.get(name, "").split()).removesuffix("."), parameter.default


def _section(title: str, entries: Sequence[Entry]) -> str:
    lines = textwrap.wrap(f"{title[0].upper()}{title[1:]}", WIDTH)
    for name, words, default in entries:
        head = f"{' ' * INDENT}{name}"
        told = textwrap.wrap(f"{words}{_default(default)}", WIDTH - COLUMN)
        if len(head) < COLUMN - 1 and told:
            lines.append(f"{head:{COLUMN}}{told.pop(0)}")
        else:
            lines.append(head)
        lines += [f"{' ' * COLUMN}{line}" for line in told]
    return "\n".join(lines)


def _first_line(kind: type) -> str:
    return (inspect.getdoc(kind) or "").partition("\n\n")[0].replace("\n", " ")


def _first_sentence(text: str) -> str:
    """Of Lightning's words, without their markup."""
    plain = re.sub(r":\w+:`~?(?:[\w.]+\.)?(\w+)`", r"\1", text).replace("``", "").replace("`", "")
    sentence = re.split(r"(?<=[^.][.])\s+(?=[A-Z])|Default: ", " ".join(plain.split()))[0]
    return sentence[:1].lower() + sentence[1:].rstrip(".") if sentence[1:2].islower() else sentence.rstrip(".")


def _default(value: Any) -> str:
    match value:
        case bool() | int() | float() | str():
            return f" ({str(value).lower() if isinstance(value, bool) else value})"
        case [*several] if several and all(isinstance(one, Mapping) or hasattr(one, "class_path") for one in several):
            return f" ({', '.join(one.class_path.rpartition('.')[2] for one in several)})"
    return ""
