"""The command `twofold`: what doesn't need torch is answered before torch is imported."""

from collections.abc import Sequence

from twofold.errors import UsageError, exit_code

USAGE = """\
usage: twofold fit|validate|test|predict -c CONFIG [--any.setting VALUE ...]
       twofold runs

  fit        train:             twofold fit -c configs/gan.yaml --trainer.max_steps 1000
             go on with a run:  twofold fit -c runs/gan/RUN/config.yaml --ckpt_path last
  validate   metrics on the validation data:  twofold validate -c runs/gan/RUN/config.yaml --ckpt_path last
  test       metrics on the test data, likewise
  predict    predictions or new images as files in the run's folder, likewise
  runs       list the runs under runs/ (or $TWOFOLD_RUNS) and how to go on with each

Every setting of a config can be given on the command line; `twofold fit -c CONFIG --print_config` shows them all.
`twofold fit --help` explains those of the models, the data and the trainer, `twofold fit --model.help GAN` those of one
class. TWOFOLD_DEBUG=1 shows tracebacks.
"""

SUBCOMMANDS = ("fit", "validate", "test", "predict")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Returns:
        The exit code: 0, 2 when something the user wrote is wrong, 1 when the run failed, 130 after Ctrl-C.
    """
    return exit_code("twofold", _run, arguments)


def _run(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE, end="")
        return 0
    command = arguments[0]
    if command == "runs":
        from twofold.listing import list_runs

        return list_runs(arguments[1:])
    if command not in SUBCOMMANDS:
        known = ", ".join((*SUBCOMMANDS, "runs"))
        raise UsageError(f"'{command}' is not a command; write one of {known}")
    from twofold.lightning_cli import run

    return run(arguments)
