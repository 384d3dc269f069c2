"""What 16 bits and compiling gain a game on a CPU: python -m benchmarks.bfloat16

A step of each pair of players at batches of 64, in 32 bits, with bfloat16 for the factors of matrix products alone
(`networks.matmul_precision`), or in bfloat16 by autocast, as it is or compiled in place by `torch.compile`.
Each case runs in a process of its own, on one thread, and finds nothing that was compiled before; see
`benchmarks.scaling`.

Writes benchmarks/results/bfloat16.csv, a row for each case: milliseconds of a step, how many times those of the step in
32 bits as it is, and the seconds until the first step was over.
"""

import os
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from benchmarks.command import RESULTS, start
from benchmarks.scaling import PAIRS, SECONDS, game_step, quickest
from runtime.tables import write_rows

BATCH_SIZE = 64
USES: Mapping[str, Mapping[str, Any]] = {
    "nowhere": {},
    "products": {"products": "medium"},
    "everywhere": {"bfloat16": True},
}
"""Where bfloat16 is used."""


def measure(pair: str, bfloat16: str, compiled: bool, seconds: float = SECONDS) -> dict[str, Any]:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    with TemporaryDirectory() as empty:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = empty
        step = game_step(pair, BATCH_SIZE, compiled=compiled, **USES[bfloat16])
        begin = time.perf_counter()
        step()
        first = time.perf_counter() - begin
        step()
        return {"ms": 1000 * quickest(step, seconds), "first_step_seconds": round(first, 1)}


def main(
    results: Path = RESULTS,
    pairs: Sequence[str] = tuple(PAIRS),
    ways: Sequence[bool] = (False, True),
    seconds: float = SECONDS,
) -> None:
    """Measures, prints and writes; `ways` says whether to compile."""
    rows: list[dict[str, Any]] = []
    for pair in pairs:
        plain = None
        for compiled in ways:
            for bfloat16 in USES:
                with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
                    measured = process.submit(measure, pair, bfloat16, compiled, seconds).result()
                plain = plain or measured["ms"]
                facts = {"pair": pair, "compiled": compiled, "bfloat16": bfloat16}
                rows.append(
                    {**facts, **measured, "ms": f"{measured['ms']:.2f}", "ratio": f"{measured['ms'] / plain:.2f}"}
                )
                print(*rows[-1].values(), flush=True)
                write_rows(results / "bfloat16.csv", list(rows[0]), rows)


if __name__ == "__main__":
    sys.exit(start("bfloat16", main, __doc__))
