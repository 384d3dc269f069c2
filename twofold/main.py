"""The command `twofold`. Torch and Lightning are imported only for the commands that train or evaluate."""

import gc
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

from twofold.errors import UsageError, exit_code

ROOT = str(Path(__file__).resolve().parents[1])
PACKAGES = ("callbacks", "common", "datamodules", "lightning_modules", "losses", "metrics", "networks")
SUBCOMMANDS = ("fit", "validate", "test", "predict")
USAGE = """\
usage: twofold fit|validate|test|predict -c CONFIG [--any.setting VALUE ...]
       twofold runs

  fit        train:         twofold fit -c gan --trainer.max_steps 1000
             resume a run:  twofold fit -c runs/gan/RUN/config.yaml --ckpt_path last
  validate   metrics on the validation data:  twofold validate -c runs/gan/RUN/config.yaml --ckpt_path last
  test       metrics on the test data:        twofold test -c runs/gan/RUN/config.yaml --ckpt_path best
  predict    write predictions or new images into the run's folder
  runs       list the runs under runs/ (or $TWOFOLD_RUNS) and how to resume each

CONFIG is a file, or the name of a shipped config such as gan or palindrome_lstm. `twofold fit --help` lists all
settings, `twofold fit --model.help lightning_modules.GAN` those of one class, and `twofold fit -c CONFIG
--print_config` shows the resulting config. TWOFOLD_DEBUG=1 shows tracebacks.
"""


class FindOurs:
    """Finds our packages in the codebase, so that a user's own `callbacks/` or `networks.py` can't shadow them."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        return PathFinder.find_spec(name, [ROOT]) if name in PACKAGES else None


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Returns:
        The exit code: 0, 2 for a usage error, 1 for a failed run, 130 after Ctrl-C, 143 after SIGTERM.
    """
    if FindOurs not in sys.meta_path:
        sys.meta_path.insert(0, FindOurs)
    # So that `--model.discriminator mine.Mine` finds mine.py there.
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    return exit_code("twofold", _run, arguments)


def _run(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE, end="")
        return 0
    if arguments[0] == "runs":
        from twofold.listing import list_runs

        return list_runs(arguments[1:])
    if arguments[0] not in SUBCOMMANDS:
        raise UsageError(f"'{arguments[0]}' is not a command; write one of {', '.join(SUBCOMMANDS)}, runs")
    with without_garbage_collection():
        if arguments[0] == "fit":
            # `wandb.init` imports it. Its pydantic models look through all modules, which before torch's are few.
            import_module("wandb.apis.public")
        from twofold.lightning_cli import run
    return run(arguments)


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Keeps the garbage collector from looking through the modules while they are imported, and ever after.

    That is a fifth of the time of `import lightning`.
    """
    if "torch" in sys.modules:  # in a notebook or a test, where more than modules is alive
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


if __name__ == "__main__":
    sys.exit(main())
