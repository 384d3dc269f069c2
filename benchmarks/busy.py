"""Batches beside another busy program, by the number of threads: python -m benchmarks.busy

Plain loops (see `benchmarks.speed`) train the networks of gan.yaml, gan_template.yaml and palindrome_lstm.yaml with one
thread to all of them: on an idle machine, beside a program that computes all the time, and beside one that starts in
the middle. It decides the rule of `twofold.threads`. Each measurement is a new process, because it is a matter of luck
which threads share a core. Writes busy_machine.csv: quartiles over rounds, and medians of ratios within a round.

Takes seven minutes on two cores, on which nothing else should run.
"""

import subprocess
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from multiprocessing import get_context
from statistics import median
from typing import Any

import torch
from torch import Tensor

from benchmarks import speed
from benchmarks.command import add_mnist, run
from benchmarks.results import Results
from benchmarks.timing import in_new_process, interleaved, ratios, spread
from scripts.digits import open_digits
from twofold.threads import usable_cores

IDLE, START, MIDDLE = "idle", "busy from the start", "busy from the middle"
WARM_UP, SECONDS = 0.5, 2.5
"""Seconds before a measurement and of it; a training goes on until the batch is done."""
LENGTH = 20


def add_options(parser: ArgumentParser) -> None:
    add_mnist(parser)
    parser.add_argument("--rounds", type=int, default=5)


def busy(options: Namespace) -> None:
    """Milliseconds per batch in the three situations."""
    digits = (str(open_digits(options.root.absolute(), options.source).root), options.source)
    loops: dict[str, tuple[str, tuple[object, ...]]] = {
        "gan": ("gan_loop", (*digits, "cpu", "gan")),
        "gan_template": ("gan_loop", digits),
        "palindrome_lstm": ("palindrome_loop", (LENGTH,)),
    }
    results = Results(options.out / "busy_machine.csv", "network", "threads", "situation")
    cases = {f"{n} {situation}": (n, situation) for n in thread_counts() for situation in (IDLE, START, MIDDLE)}
    for network, (function, arguments) in loops.items():
        if results.has(network=network):
            continue
        programs = {name: partial(in_fork, ms_per_batch, function, arguments, *case) for name, case in cases.items()}
        measured = interleaved(programs, options.rounds)
        idle = [measured[name] for name, (_, situation) in cases.items() if situation == IDLE]
        fastest_idle = [min(times) for times in zip(*idle, strict=True)]
        rows = []
        for name, (threads, situation) in cases.items():
            over = {
                "over_idle": median(ratios(measured[name], measured[f"{threads} {IDLE}"])),
                "over_fastest_idle": median(ratios(measured[name], fastest_idle)),
            }
            columns = {"network": network, "threads": threads, "situation": situation}
            rows.append({**columns, **spread(measured[name]), **over})
        results.add(*rows)


def thread_counts() -> list[int]:
    """The numbers of threads: few, and those that leave a core free or none."""
    cores = usable_cores()
    return sorted({threads for threads in (1, 2, 4, cores - 1, cores) if 1 <= threads <= cores})


def ms_per_batch(function: str, arguments: tuple[object, ...], threads: int, situation: str) -> float:
    """The mean time of a batch of a loop of `benchmarks.speed`; call it in a new process."""
    torch.set_num_threads(threads)
    with ExitStack() as stack:
        if situation == START:
            stack.enter_context(another_program())
        losses = iter(getattr(speed, function)(*arguments))
        train(losses, WARM_UP)
        if situation == MIDDLE:
            stack.enter_context(another_program())
            train(losses, WARM_UP)
        return train(losses, SECONDS)


def train(losses: Iterator[Tensor], seconds: float) -> float:
    """Trains for so long; returns milliseconds per batch."""
    start, batches, passed = time.perf_counter(), 0, 0.0
    while passed < seconds:
        next(losses)
        batches, passed = batches + 1, time.perf_counter() - start
    return 1000 * passed / batches


@contextmanager
def another_program() -> Iterator[None]:
    """A program that computes all the time, in a session of its own, as if it was started from another terminal."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"], start_new_session=True)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def in_fork(work: Callable[..., Any], *arguments: Any) -> Any:
    """What `work` returns in a new process, forked from one that has imported all but has started no threads."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["benchmarks.speed"])
    return in_new_process(work, *arguments, context=context)


BENCHMARKS = {"busy": busy}
main = partial(run, "busy", __doc__, BENCHMARKS, add_options=add_options)

if __name__ == "__main__":
    sys.exit(main())
