"""Serves a page to try trained networks in: morph digits, ask networks with memory, plot their gates.

    python -m scripts.explore               the networks under runs/, or $TWOFOLD_RUNS
    python -m scripts.explore runs/demo     those under another folder

The page is served to this machine only. Ctrl-C stops it.
"""

import os
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from fastapi import FastAPI
from starlette.middleware.trustedhost import TrustedHostMiddleware

from scripts.arguments import user_module, whole_number
from twofold.errors import OneLineParser, UsageError, exit_code
from twofold.run_folder import runs_root

LOOPBACK = "127.0.0.1"


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the page's address and serves it; returns the exit code, 2 for a mistake in the arguments."""
    return exit_code("explore", _run, arguments)


def _run(arguments: list[str]) -> int:
    parser = OneLineParser(prog="python -m scripts.explore", description=__doc__)
    parser.add_argument("runs", nargs="?", type=Path, help="folder that holds runs, by default $TWOFOLD_RUNS, or runs")
    parser.add_argument("--port", type=whole_number(0, 65535), default=7860, help="by default 7860; 0: any free one")
    parser.add_argument("--import", type=user_module, help="the module of your own task or network, such as mine")
    options = parser.parse_args(arguments)
    if options.runs and not options.runs.is_dir():
        raise UsageError(f"{options.runs} is not a folder; write the folder that holds your runs, such as runs")
    options.runs = options.runs or runs_root()

    with bind(options.port) as listener, TemporaryDirectory(prefix="twofold-explore-") as pictures:
        os.environ["GRADIO_TEMP_DIR"] = pictures  # by default Gradio never deletes the pictures that it sends
        with suppress(KeyboardInterrupt):
            _serve(options.runs, listener)
    return 0


def _serve(runs: Path, listener: socket.socket) -> None:
    import torch  # these imports take seconds
    import uvicorn

    torch.set_num_threads(1)  # concurrent requests don't wait for each other's threads
    server = uvicorn.Server(uvicorn.Config(app(runs), log_level="warning", timeout_graceful_shutdown=1))
    print(f"exploring {runs} at http://{LOOPBACK}:{listener.getsockname()[1]} (Ctrl-C stops it)", flush=True)
    server.run(sockets=[listener])


def app(runs: Path) -> FastAPI:
    """Builds the server for the networks under a folder.

    It answers only requests for this machine's own names, so that no other site's name can be made to lead to it.
    """
    import gradio as gr

    from scripts.explorer import page
    from scripts.explorer.model_index import ModelIndex

    outer = FastAPI(openapi_url=None)
    outer.add_middleware(TrustedHostMiddleware, allowed_hosts=[LOOPBACK, "localhost"], www_redirect=False)
    blocks = page.build(ModelIndex(runs))
    gr.mount_gradio_app(outer, blocks, "/", LOOPBACK, theme=page.THEME, css=page.CSS, ssr_mode=False, footer_links=[])
    return outer


def bind(port: int) -> socket.socket:
    """Returns a listening socket of this machine only; port 0 stands for any that is free.

    Raises:
        UsageError: when the port is taken or not allowed.
    """
    try:
        listener = socket.create_server((LOOPBACK, port))
    except OSError as error:
        instead = "write another one after --port, or 0 for any that is free"
        raise UsageError(f"port {port} can't be used: {error.strerror}; {instead}") from error
    # Made from its descriptor, a socket knows that its protocol is TCP. Only then does asyncio send small answers at
    # once; otherwise each waits 40 ms.
    return socket.socket(fileno=listener.detach())


if __name__ == "__main__":
    sys.exit(main())
