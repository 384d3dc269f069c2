"""A stand-in for W&B's server on loopback. Not a test."""

import json
import re
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MINE = {"id": "us", "name": "us"}
PROJECT = {"id": "twofold", "name": "twofold", "entity": MINE}


@dataclass
class Taken:
    """What was uploaded of a run."""

    group: str | None = None
    tags: list[str] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)


class Server(ThreadingHTTPServer):
    """Knows as much of W&B's protocol as a run needs, and fails on demand: `mood` is "well", "hangs" or a status.

    With `mood_after_start` it fails once it has taken a run in. `runs` and the files of `artifacts` are what it took.
    """

    daemon_threads = True
    mood: str | int = "well"
    mood_after_start: str | int | None = None

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.runs: defaultdict[str, Taken] = defaultdict(Taken)
        self.artifacts: dict[str, dict[str, bytes]] = {}
        self.committed: set[str] = set()
        self.closing = threading.Event()

    def handle_error(self, *_: object) -> None:
        """A client that hangs up is no news."""


@contextmanager
def serving() -> Iterator[Server]:
    """Within, the server answers."""
    with Server() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server
        finally:
            server.closing.set()
            server.shutdown()


class Answer(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.server.mood == "hangs":
            self.server.closing.wait()
        elif isinstance(self.server.mood, int):
            self.reply({"errors": [{"message": "no"}]}, status=self.server.mood)
        elif self.path == "/graphql":
            request = json.loads(body)
            name = re.search(r"(?:query|mutation)\s+(\w+)", request["query"])
            assert name is not None
            self.reply({"data": self.answer_query(name[1], request.get("variables") or {})})
        else:
            self.take(body)
            self.reply({})

    do_PUT = do_POST

    def answer_query(self, name: str, asked: dict[str, Any]) -> dict[str, Any]:
        match name:
            case "Viewer":
                me = {"id": "us", "entity": "us", "username": "us", "email": "us@example.com", "flags": "{}"}
                return {"viewer": {**me, "teams": {"edges": []}}}
            case "RunResumeStatus":
                return {"model": self.resumable(asked["name"])}
            case "UpsertBucket":
                return {"upsertBucket": {"inserted": True, "bucket": self.take_in(asked)}}
            case "CreateRunFiles":
                files = [{"name": name, "uploadUrl": f"{self.server.url}/{name}"} for name in asked["files"]]
                return {"createRunFiles": {"runID": asked["run"], "uploadHeaders": [], "files": files}}
            case "ArtifactType":
                return {"project": None}
            case "CreateArtifact":
                artifact = asked["input"]["artifactCollectionName"]
                self.server.artifacts[artifact] = {}
                new = {"id": artifact, "state": "PENDING", "artifactSequence": {"latestArtifact": None}}
                return {"createArtifact": {"artifact": new}}
            case "CreateArtifactManifest":
                file = {"id": "file", "uploadUrl": f"{self.server.url}/manifest", "uploadHeaders": []}
                return {"createArtifactManifest": {"artifactManifest": {"id": "manifest", "file": file}}}
            case "CreateArtifactFiles":
                edges = [{"node": self.place(**file)} for file in asked["input"]["artifactFiles"]]
                return {"createArtifactFiles": {"files": {"edges": edges}}}
            case "CommitArtifact":
                self.server.committed.add(asked["artifactID"])
                return {"commitArtifact": {"artifact": {"id": asked["artifactID"], "digest": "any"}}}
        return {"model": None, "serverInfo": {"features": []}}

    def take_in(self, asked: dict[str, Any]) -> dict[str, Any]:
        self.server.mood = self.server.mood_after_start or self.server.mood
        run = self.server.runs[asked["name"]]
        run.group = asked["groupName"] or run.group
        run.tags = asked["tags"] or run.tags
        run.config |= {key: item["value"] for key, item in json.loads(asked["config"] or "{}").items()}
        bucket = {"id": asked["name"], "name": asked["name"], "displayName": asked["name"], "project": PROJECT}
        return {**bucket, "historyLineCount": len(run.history), "config": "{}"}

    def resumable(self, name: str) -> dict[str, Any] | None:
        """What the server says about a run that it knows."""
        if name not in self.server.runs:
            return None
        run = self.server.runs[name]
        last = json.dumps([json.dumps(row) for row in run.history[-1:]])
        bucket = {
            "id": name,
            "name": name,
            "displayName": name,
            "summaryMetrics": json.dumps(run.summary),
            "config": json.dumps({key: {"value": value} for key, value in run.config.items()}),
            "tags": run.tags,
            "historyLineCount": len(run.history),
            "historyTail": last,
            "eventsLineCount": 0,
            "eventsTail": "[]",
            "logLineCount": 0,
            "notes": None,
            "wandbConfig": json.dumps({"t": 1}),
        }
        return {**PROJECT, "bucket": bucket}

    def place(self, artifactID: str, name: str, **_: Any) -> dict[str, Any]:
        url = f"{self.server.url}/artifacts/{artifactID}/{name}"
        return {"uploadUrl": url, "uploadHeaders": [], "storagePath": name, "artifact": {"id": artifactID}}

    def take(self, body: bytes) -> None:
        """Keeps the rows and the summary of `/files/us/twofold/RUN/file_stream`, and `/artifacts/NAME/FILE`."""
        if self.path.endswith("/file_stream"):
            run = self.server.runs[self.path.split("/")[-2]]
            files = json.loads(body).get("files", {})
            run.history += map(json.loads, files.get("wandb-history.jsonl", {}).get("content", []))
            for summary in files.get("wandb-summary.json", {}).get("content", []):
                run.summary = json.loads(summary)
        elif self.path.startswith("/artifacts/"):
            artifact, file = self.path.removeprefix("/artifacts/").split("/", 1)
            self.server.artifacts[artifact][file] = body

    def reply(self, answer: dict[str, Any], status: int = 200) -> None:
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Quiet."""
