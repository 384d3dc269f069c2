"""How long a move of the explorer's slider takes to be answered: python -m benchmarks.explorer_latency

Starts `python -m scripts.explore` and moves the slider as a browser does: over HTTP, one connection and one session a
client, the next move as soon as the last one is answered. First one client, then twenty at once, each on its own way
between two seeds, then each on its own way between two digits. The clients take part of the same processor.

The generator is that of `configs/gan.yaml` after 1,000 batches of the packaged digits, which is enough to make every
digit. The explorer's search for them in the noise, once a generator, is over before anything is timed.

Writes benchmarks/results/explorer_latency.csv: milliseconds, and how many pictures weren't those that the client gets
alone.
"""

import http.client
import json
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from benchmarks.command import RESULTS, start, twofold
from callbacks.interpolation_strip import GENERATOR_FILE
from scripts.jobs import falling
from twofold.provenance import ROOT
from twofold.tables import rounded, write_rows

TABLE = RESULTS / "explorer_latency.csv"
BATCHES = 1000
"""Of the generator's training."""
CLIENTS = (1, 20)
MOVES = 50
"""Of each client's slider, from one end to the other."""


WAYS: dict[str, Callable[[int], tuple[int, int]]] = {
    "seeds": lambda client: (2 * client, 2 * client + 1),
    "digits": lambda client: (client % 10, (client + client // 10 + 1) % 10),
}
"""Between what the slider leads, and which two of them are a client's own, of up to 90."""


class Move(NamedTuple):
    """An answer, and the milliseconds until it was there."""

    answer: str
    milliseconds: float


def main(table: Path = TABLE) -> None:
    with TemporaryDirectory() as runs:
        name = trained(Path(runs)).relative_to(runs).as_posix()
        with explorer(Path(runs)) as address:
            rows = [measured(address, name, between, clients) for between in WAYS for clients in CLIENTS]
    write_rows(table, list(rows[0]), map(rounded, rows))
    for row in rows:
        print(rounded(row))


def trained(runs: Path) -> Path:
    """The generator file of a new run in this folder."""
    settings = ("--trainer.max_steps", BATCHES, *falling("gan", BATCHES), "--data.source", "packaged")
    callbacks = ("--trainer.callbacks", '[{"class_path": "callbacks.InterpolationStrip"}]')  # which keeps the generator
    twofold(str(runs), "fit", "-c", "configs/gan.yaml", *settings, *callbacks)
    (weights,) = runs.glob(f"*/*/{GENERATOR_FILE}")
    return weights


def measured(address: str, name: str, between: str, clients: int) -> dict[str, object]:
    """A row of the results: so many clients at once."""
    alone = [drag(address, client, name, between) for client in range(clients)]
    together = dragged_at_once(address, clients, name, between)
    times = [move.milliseconds for moves in together for move in moves]
    pairs = [pair for before, now in zip(alone, together, strict=True) for pair in zip(before, now, strict=True)]
    return {
        "between": between,
        "clients": clients,
        "moves": len(times),
        "median_ms": statistics.median(times),
        "p95_ms": statistics.quantiles(times, n=20, method="inclusive")[-1],
        "others_pictures": sum(before.answer != now.answer for before, now in pairs),
    }


def dragged_at_once(address: str, clients: int, name: str, between: str) -> list[list[Move]]:
    """What each of the clients gets, all beginning at the same moment."""
    together = threading.Barrier(clients)
    with ThreadPoolExecutor(clients) as pool:
        return list(pool.map(lambda client: drag(address, client, name, between, together), range(clients)))


def drag(address: str, client: int, name: str, between: str, together: threading.Barrier | None = None) -> list[Move]:
    """Moves the slider all the way between two seeds or digits that are this client's own."""
    with closing(http.client.HTTPConnection(address.removeprefix("http://"), timeout=60)) as connection:
        connection.connect()
        if together:
            together.wait()
        return [
            move(connection, client, [name, between, *WAYS[between](client), "lerp", place / (MOVES - 1)])
            for place in range(MOVES)
        ]


def move(connection: http.client.HTTPConnection, client: int, fields: list[object]) -> Move:
    """Asks for a frame."""
    body = json.dumps({"data": fields, "session_hash": f"client{client}"})
    begun = time.perf_counter()
    connection.request("POST", "/gradio_api/run/frame", body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    content = response.read()
    milliseconds = 1000 * (time.perf_counter() - begun)
    if response.status != 200 or b"<img" not in content:
        raise RuntimeError(f"the explorer answered {response.status}: {content[:200]!r}")
    return Move(json.loads(content)["data"][0], milliseconds)


@contextmanager
def explorer(runs: Path) -> Iterator[str]:
    """The page in a process of its own, at the address that this yields; ended by Ctrl-C, which has to be quiet.

    Raises:
        RuntimeError: when it doesn't begin, or doesn't end as it should.
    """
    command = [sys.executable, "-m", "scripts.explore", str(runs), "--port", "0"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        if not (address := re.search(r"http://[\d.:]+", process.stdout.readline())):
            raise RuntimeError(f"the explorer doesn't begin: {process.communicate()[1]}")
        yield address[0]
        process.send_signal(signal.SIGINT)
        _, complaints = process.communicate(timeout=30)
        if process.returncode or complaints:
            raise RuntimeError(f"the explorer ended with {process.returncode}: {complaints}")
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    sys.exit(start("explorer_latency", main, __doc__))
