"""Serves the page to this machine alone, and of Gradio's server only what the page needs.

    request → Gate → Gradio

Gradio can serve and receive files, fetch addresses and more. The page does without all that, so none of it can be
reached.
"""

import errno
import json
import os
import re
import socket
from collections.abc import Mapping

import gradio as gr
import uvicorn
from fastapi import FastAPI
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from scripts.explorer import theme
from twofold.errors import UsageError

LOOPBACK = "127.0.0.1"
HOSTS = [LOOPBACK, "localhost"]
"""By which a browser may know this server. Another site that has its name lead here isn't answered."""

READ = re.compile(
    r"/|/config|/theme\.css|/favicon\.ico|/manifest\.json|/(assets|static|svelte)/[\w./@-]+"
    r"|/gradio_api/(info|startup-events|app_id|queue/data|heartbeat/\w+)/?"
)
UP_OR_ROOT = re.compile(r"\.\.|//")
"""By which a path could lead out of Gradio's own folders."""
WRITTEN = re.compile(r"/gradio_api/(queue/join|run/\w+)/?")
LONGEST_BODY = 100_000
"""Bytes; the longest palindrome has 1,000."""

HEADERS = {
    # Whatever the page is made of, its browser asks nobody but this server.
    b"content-security-policy": b"default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; frame-ancestors 'none'",
    b"referrer-policy": b"no-referrer",
    b"x-content-type-options": b"nosniff",
}


class Gate:
    """Lets through what the page asks for and refuses all else.

    Args:
        app: what answers what is let through.
        fields: how many fields each of the page's functions takes, by its name and by its number.
    """

    def __init__(self, app: ASGIApp, fields: Mapping[str | int, int]) -> None:
        self.app = app
        self.fields = fields

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, _with_headers(send))
        # A websocket that nobody accepts is closed; Gradio's page opens none.

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, method = scope["path"], scope["method"]
        if method in ("GET", "HEAD") and READ.fullmatch(path) and not UP_OR_ROOT.search(path):
            await self.app(scope, receive, send)
        elif method == "POST" and WRITTEN.fullmatch(path):
            body = await _read(receive)
            if body is None:
                await PlainTextResponse("too long", 413)(scope, receive, send)
            elif not self._is_the_pages(path, body):
                await PlainTextResponse("not what the page sends", 400)(scope, receive, send)
            else:
                await self.app(scope, _again(body, receive), send)
        else:
            await PlainTextResponse("not found", 404)(scope, receive, send)

    def _is_the_pages(self, path: str, body: bytes) -> bool:
        """Whether one of the page's functions is called, with as many fields as it takes, of text and numbers.

        Gradio would take a dictionary for a file, and an address in it for something to fetch.
        """
        try:
            content = json.loads(body)
            called = content.get("fn_index", path.rstrip("/").rpartition("/")[2])
            fields = content["data"]
            return (
                isinstance(fields, list)
                and len(fields) == self.fields[called]
                and all(field is None or isinstance(field, str | int | float) for field in fields)
            )
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return False


def app(blocks: gr.Blocks) -> ASGIApp:
    """The whole server, gate and all."""
    # Answers wait for their turn, not for each other's threads; but one at a time, a long search would stop all others.
    blocks.max_threads = max(2, os.cpu_count() or 1)
    blocks.create_limiter()  # type: ignore[no-untyped-call]
    inside = gr.mount_gradio_app(
        FastAPI(openapi_url=None),
        blocks,
        path="/",
        server_name=LOOPBACK,
        theme=theme.theme(),
        css=theme.CSS,
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
    )
    fields: dict[str | int, int] = {}
    for number, function in blocks.fns.items():
        fields |= {number: len(function.inputs), str(function.api_name): len(function.inputs)}
    return TrustedHostMiddleware(Gate(inside, fields), allowed_hosts=HOSTS, www_redirect=False)


def bind(port: int) -> socket.socket:
    """A socket of this machine alone; port 0 stands for any that is free.

    Raises:
        UsageError: when the port is taken or may not be used.
    """
    # Only of a socket that says TCP asyncio sends small answers at once; else each waits 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((LOOPBACK, port))
        listener.listen()  # who comes before the server is ready waits
    except OSError as error:
        listener.close()
        reason = "is taken" if error.errno == errno.EADDRINUSE else f"can't be used ({error.strerror})"
        raise UsageError(f"port {port} {reason}; write another one after --port, or 0 for any that is free") from error
    return listener


def serve(blocks: gr.Blocks, listener: socket.socket) -> None:
    """Answers until Ctrl-C or SIGTERM."""
    config = uvicorn.Config(app(blocks), log_level="warning", access_log=False, timeout_graceful_shutdown=1, ws="none")
    uvicorn.Server(config).run(sockets=[listener])


async def _read(receive: Receive) -> bytes | None:
    """A request's whole body; None when it is too long, or its sender has gone."""
    body = b""
    while True:
        message = await receive()
        part: bytes = message.get("body", b"")
        body += part
        if message["type"] != "http.request" or len(body) > LONGEST_BODY:
            return None
        if not message.get("more_body", False):
            return body


def _again(body: bytes, receive: Receive) -> Receive:
    """Receives a body that was read already, then what else comes."""
    first: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return first.pop() if first else await receive()

    return receive_again


def _with_headers(send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", []), *HEADERS.items()]
        await send(message)

    return send_with_headers
