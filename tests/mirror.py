"""A server of files on loopback."""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

NOBODY = "http://127.0.0.1:9/"
"""The discard port, where nothing listens."""


class Mirror(ThreadingHTTPServer):
    """Serves files on loopback, only half of each if it `stalls`, and records the requests."""

    daemon_threads, block_on_close = True, False
    files: Mapping[str, bytes]
    stalls = False
    requests: ClassVar[list[str]] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"


class Handler(BaseHTTPRequestHandler):
    server: Mirror

    def do_GET(self) -> None:
        self.server.requests.append(self.path)
        content = self.server.files.get(self.path[1:])
        self.send_response(200 if content else 404)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        if content:
            self.wfile.write(content[: len(content) // 2] if self.server.stalls else content)
            time.sleep(10 if self.server.stalls else 0)

    def log_message(self, *_: object) -> None:
        """Prints nothing."""


@contextmanager
def serving(files: Mapping[str, bytes]) -> Iterator[Mirror]:
    """Serves files on loopback."""
    with Mirror(("127.0.0.1", 0), Handler) as server:
        server.files = files
        server.requests.clear()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()
