"""What 16 bits and compiling gain a game on a CPU: python -m benchmarks.bfloat16

A step of each pair of networks at batches of 64, in 32 bits, with bfloat16 for the factors of matrix products alone
(`common.matmul_precision`), or in bfloat16 by autocast, as it is or compiled in place by `torch.compile`.
Each case has a process of its own, one thread, and nothing that was compiled before. Those of a pair take turns of half
a second, so what slows the machine for a while slows all of them.

Writes benchmarks/results/bfloat16.csv, a row for each case: milliseconds of a step in the median turn, how many times
those of the step in 32 bits as it is, in the median round, and the seconds until the first step was over.
"""

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from functools import partial
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch

from benchmarks.command import RESULTS, start
from benchmarks.scaling import PAIRS, SECONDS, Step, game_step, turn
from benchmarks.timing import by_turns
from twofold.tables import write_rows

BATCH_SIZE = 64
ROUNDS = 15
USES: Mapping[str, Mapping[str, Any]] = {
    "nowhere": {},
    "products": {"products": "medium"},
    "everywhere": {"bfloat16": True},
}
"""Where bfloat16 is used."""

_step: Step
"""That of this process's case."""


def prepare(pair: str, compiled: bool, bfloat16: str, empty: str) -> float:
    """Makes the step of a case, with an `empty` folder for compiled code; the seconds that the first one takes."""
    global _step
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = empty
    torch.set_num_threads(1)
    torch.manual_seed(0)
    _step = game_step(pair, BATCH_SIZE, compiled=compiled, **USES[bfloat16])
    begin = time.perf_counter()
    _step()
    return time.perf_counter() - begin


def step_for(seconds: float) -> float:
    """Milliseconds of a step of this process's case, in a turn of so many seconds."""
    return 1000 * turn(_step, seconds)


def _turn_in(process: ProcessPoolExecutor, seconds: float) -> float:
    return process.submit(step_for, seconds).result()


def measure(pair: str, ways: Sequence[bool], seconds: float) -> list[dict[str, Any]]:
    """A row for each case of a pair."""
    rows: list[dict[str, Any]] = []
    with ExitStack() as stack:
        turns: dict[str, Callable[[], float]] = {}
        for compiled, bfloat16 in product(ways, USES):
            empty = stack.enter_context(TemporaryDirectory())
            process = stack.enter_context(ProcessPoolExecutor(1, mp_context=get_context("spawn")))
            first = process.submit(prepare, pair, compiled, bfloat16, empty).result()
            rows.append(
                {"pair": pair, "compiled": compiled, "bfloat16": bfloat16, "first_step_seconds": round(first, 1)}
            )
            turns[f"{compiled} {bfloat16}"] = partial(_turn_in, process, seconds)
        said = list(by_turns(turns, ROUNDS).values())
    for row, each in zip(rows, said, strict=True):
        ratio = median(ours / plain for ours, plain in zip(each, said[0], strict=True))
        row |= {"ms": f"{median(each):.2f}", "ratio": f"{ratio:.2f}"}
    return rows


def main(
    results: Path = RESULTS,
    pairs: Sequence[str] = tuple(PAIRS),
    ways: Sequence[bool] = (False, True),
    seconds: float = SECONDS,
) -> None:
    """Measures, prints and writes; `ways` says whether to compile."""
    rows: list[dict[str, Any]] = []
    for pair in pairs:
        for row in measure(pair, ways, seconds):
            print(*row.values(), flush=True)
            rows.append(row)
        write_rows(results / "bfloat16.csv", list(rows[0]), rows)


if __name__ == "__main__":
    sys.exit(start("bfloat16", main, __doc__))
