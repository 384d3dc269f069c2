"""A stand-in for W&B's server on loopback. Not a test."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "c0ffee42" * 5


class Server(ThreadingHTTPServer):
    """Takes one run by the part of W&B's protocol that a run needs. A context manager: its thread ends with it.

    Attributes:
        mode: "ok", "hangs" (takes requests and never answers), or the HTTP status of all answers.
        mode_after_start: the mode once a run has started, or None to keep the mode.
        account: the environment of a client.
        run: the run's name, groupName, tags and config, as it sent them.
        history: the logged rows.
        summary: the run's summary.
        artifacts: by artifact, the content of each of its files.
    """

    daemon_threads = True
    mode: str | int = "ok"
    mode_after_start: str | int | None = None

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.account = {"WANDB_BASE_URL": self.url, "WANDB_API_KEY": KEY}
        self.run: dict[str, Any] = {}
        self.history: list[dict[str, Any]] = []
        self.summary: dict[str, Any] = {}
        self.artifacts: dict[str, dict[str, bytes]] = {}
        self.closing = threading.Event()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def server_close(self) -> None:
        self.closing.set()
        self.shutdown()
        super().server_close()

    def handle_error(self, *_: object) -> None:
        """Ignores clients that hang up."""

    def points(self, key: str) -> list[tuple[int, Any]]:
        """A series over the axis of batches."""
        return [(row["trainer/global_step"], row[key]) for row in self.history if key in row]


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.server.mode == "hangs":
            self.server.closing.wait()
        elif self.server.mode != "ok":
            self.reply({"errors": [{"message": "no"}]}, int(self.server.mode))
        elif self.path == "/graphql":
            request = json.loads(body)
            self.reply({"data": self.answer(request["query"], request.get("variables") or {})})
        else:
            self.store(body)
            self.reply({})

    do_PUT = do_POST

    def answer(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        """The fields of all queries and mutations; W&B takes those that it asked for."""
        server = self.server
        if "mutation UpsertBucket" in query:
            server.mode = server.mode_after_start or server.mode
            assert server.run.get("name") in (None, variables["name"]), "a second run"
            server.run |= {key: value for key, value in variables.items() if value}
        bucket = {
            "name": server.run.get("name"),
            "config": server.run.get("config", "{}"),
            "summaryMetrics": json.dumps(server.summary),
            "historyLineCount": len(server.history),
            "historyTail": json.dumps([json.dumps(row) for row in server.history[-1:]]),
            "eventsLineCount": 0,
            "eventsTail": "[]",
            "logLineCount": 0,
            "wandbConfig": '{"t": 1}',
        }
        artifact = variables.get("input") or {}
        files = [self.file(**file) for file in artifact.get("artifactFiles", ())]
        return {
            "viewer": {"entity": "us"},
            "model": {"bucket": bucket} if server.run else None,
            "upsertBucket": {"bucket": bucket},
            "createRunFiles": {"files": []},
            "project": None,
            "createArtifact": {"artifact": {"id": artifact.get("artifactCollectionName"), "state": "PENDING"}},
            "createArtifactManifest": {"artifactManifest": {"file": {"uploadUrl": f"{server.url}/manifest"}}},
            "createArtifactFiles": {"files": {"edges": [{"node": file} for file in files]}},
        }

    def file(self, artifactID: str, name: str, **_: Any) -> dict[str, Any]:
        url = f"{self.server.url}/artifacts/{artifactID}/{name}"
        return {"uploadUrl": url, "storagePath": name, "artifact": {"id": artifactID}}

    def store(self, body: bytes) -> None:
        """Keeps what is sent to `/files/us/twofold/RUN/file_stream` and `/artifacts/NAME/FILE`."""
        if self.path.endswith("/file_stream"):
            files = json.loads(body).get("files", {})
            self.server.history += map(json.loads, files.get("wandb-history.jsonl", {}).get("content", []))
            for summary in files.get("wandb-summary.json", {}).get("content", []):
                self.server.summary = json.loads(summary)
        elif self.path.startswith("/artifacts/"):
            artifact, file = self.path.removeprefix("/artifacts/").split("/", 1)
            self.server.artifacts.setdefault(artifact, {})[file] = body

    def reply(self, answer: dict[str, Any], status: int = 200) -> None:
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
