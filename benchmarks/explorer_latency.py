"""How long the explorer takes to answer a move of its slider: python -m benchmarks.explorer_latency

Starts `python -m scripts.explore` and moves the slider as a browser does: over HTTP, one connection and one session per
client, the next move as soon as the last one is answered. First one client, then twenty at once, each between two seeds
of its own, then between two digits of its own. The clients use the same cores.

The generator is that of configs/gan.yaml after 1,000 batches of the packaged digits. Writes explorer_latency.csv:
milliseconds, and how many answers differ from those that the client gets alone.
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
from argparse import Namespace
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.command import no_options, run, twofold
from benchmarks.results import Results
from callbacks.interpolation_strip import GENERATOR_FILE
from twofold.provenance import CONFIGS, ROOT

BATCHES = 1000
CLIENTS = (1, 20)
MOVES = 50
"""Of each client's slider, from one end to the other."""
WAYS: dict[str, Callable[[int], tuple[int, int]]] = {
    "seeds": lambda client: (2 * client, 2 * client + 1),
    "digits": lambda client: (client % 10, (client + client // 10 + 1) % 10),
}
"""The two seeds or digits of each client; up to 90 clients differ."""
Moves = list[tuple[str, float]]
"""The answers, each with its milliseconds."""


def explorer_latency(options: Namespace) -> None:
    results = Results(options.out / "explorer_latency.csv", "between", "clients")
    with TemporaryDirectory() as runs:
        name = train_generator(Path(runs)).relative_to(runs).as_posix()
        with explorer(Path(runs)) as address:
            for between, clients in product(WAYS, CLIENTS):
                alone = [drag(address, client, name, between) for client in range(clients)]
                at_once = dragged_at_once(address, clients, name, between)
                pairs = [pair for moves in zip(alone, at_once, strict=True) for pair in zip(*moves, strict=True)]
                times = [ms for _, (_, ms) in pairs]
                p95 = statistics.quantiles(times, n=20, method="inclusive")[-1]
                row: dict[str, object] = {"between": between, "clients": clients, "requests": len(times)}
                row |= {"median_ms": statistics.median(times), "p95_ms": p95}
                results.add({**row, "wrong_answers": sum(expected[0] != actual[0] for expected, actual in pairs)})


def train_generator(runs: Path) -> Path:
    """The generator file of a new run."""
    callbacks = ("--trainer.callbacks", '[{"class_path": "callbacks.InterpolationStrip"}]')  # which saves the generator
    settings = ("--trainer.max_steps", BATCHES, "--data.source", "packaged", *callbacks)
    twofold(runs, "fit", "-c", CONFIGS / "gan.yaml", *settings)
    (weights,) = runs.glob(f"*/*/{GENERATOR_FILE}")
    return weights


def dragged_at_once(address: str, clients: int, name: str, between: str) -> list[Moves]:
    """What each client gets when all begin at the same moment."""
    barrier = threading.Barrier(clients)
    with ThreadPoolExecutor(clients) as pool:
        return list(pool.map(lambda client: drag(address, client, name, between, barrier), range(clients)))


def drag(address: str, client: int, name: str, between: str, barrier: threading.Barrier | None = None) -> Moves:
    """Moves the slider all the way."""
    with closing(http.client.HTTPConnection(address.removeprefix("http://"), timeout=60)) as connection:
        connection.connect()
        if barrier:
            barrier.wait()
        moves = []
        for place in range(MOVES):
            data = [name, between, *WAYS[between](client), "lerp", place / (MOVES - 1)]
            body = json.dumps({"data": data, "session_hash": f"client{client}"})
            start = time.perf_counter()
            connection.request("POST", "/gradio_api/run/frame", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            content = response.read()
            ms = 1000 * (time.perf_counter() - start)
            if response.status != 200 or b"image.png" not in content:
                raise RuntimeError(f"the explorer answered {response.status}: {content[:200]!r}")
            moves.append((json.loads(content)["data"][0]["path"], ms))  # a picture is named by the hash of its content
        return moves


@contextmanager
def explorer(runs: Path) -> Iterator[str]:
    """The explorer in a subprocess; yields its address and ends it by Ctrl-C.

    Raises:
        RuntimeError: when it doesn't start, or ends with an error.
    """
    command = [sys.executable, "-m", "scripts.explore", str(runs), "--port", "0"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        if not (address := re.search(r"http://[\d.:]+", process.stdout.readline())):
            raise RuntimeError(f"the explorer doesn't start: {process.communicate()[1]}")
        yield address[0]
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
        if process.returncode or errors:
            raise RuntimeError(f"the explorer ended with {process.returncode}: {errors}")
    finally:
        process.kill()
        process.wait()


BENCHMARKS = {"latency": explorer_latency}
main = partial(run, "explorer_latency", __doc__, BENCHMARKS, no_options)

if __name__ == "__main__":
    sys.exit(main())
