"""A page to play with trained networks in: morph digits, question a memory, see its gates.

    python -m scripts.explore               the networks under runs/, or $TWOFOLD_RUNS
    python -m scripts.explore runs/demo     those under another folder

It is served to this machine alone. Ctrl-C ends it.
"""

import sys
from argparse import Namespace
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from twofold.errors import OneLineParser, UsageError, exit_code
from twofold.run_folder import runs_root

DEFAULT_PORT = 7860
HIGHEST_PORT = 65_535


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the page's address and serves it; returns the exit code, 2 when something the user wrote is wrong."""
    return exit_code("explore", _run, arguments)


def _run(arguments: list[str]) -> int:
    wanted = _parse(arguments)
    with suppress(KeyboardInterrupt):
        _serve(wanted)
    return 0


def _serve(wanted: Namespace) -> None:
    # Not before the arguments are understood, for all this takes seconds to import.
    import torch

    from scripts.explorer import page, server
    from scripts.explorer.model_index import Shelf

    torch.set_num_threads(1)  # so that answers to many at once don't wait for each other's threads
    listener = server.bind(wanted.port)
    blocks = page.build(Shelf(wanted.runs))
    print(
        f"exploring {wanted.runs} at http://{server.LOOPBACK}:{listener.getsockname()[1]} (Ctrl-C ends it)", flush=True
    )
    server.serve(blocks, listener)


def _parse(arguments: list[str]) -> Namespace:
    parser = OneLineParser(prog="python -m scripts.explore", description=__doc__, epilog="Ctrl-C ends it.")
    parser.add_argument(
        "runs", nargs="?", type=Path, help="folder of runs, anywhere in it; by default $TWOFOLD_RUNS, or runs"
    )
    parser.add_argument(
        "--port", type=int, default=DEFAULT_PORT, help=f"of the page's address, by default {DEFAULT_PORT}; 0: any free"
    )
    wanted = parser.parse_args(arguments)
    given, wanted.runs = wanted.runs, wanted.runs or runs_root()
    if not wanted.runs.is_dir() and (given or wanted.runs.exists()):
        raise UsageError(f"{wanted.runs} is no folder; write the folder that holds your runs, such as runs")
    if not 0 <= wanted.port <= HIGHEST_PORT:
        raise UsageError(f"--port is {wanted.port}; write 0 to {HIGHEST_PORT}")
    return wanted


if __name__ == "__main__":
    sys.exit(main())
