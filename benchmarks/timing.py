"""Times, and how they are summed up, for benchmarks that compare."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial


def milliseconds(work: Callable[[], object]) -> float:
    """The time that one call takes."""
    start = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - start)


def interleaved(contestants: Mapping[str, Callable[[], object]], rounds: int, warm_up: int) -> dict[str, list[float]]:
    """The milliseconds of every contestant in each round, after `warm_up` rounds that don't count; see `by_turns`."""
    timed = {name: partial(milliseconds, work) for name, work in contestants.items()}
    return {name: times[warm_up:] for name, times in by_turns(timed, warm_up + rounds).items()}


def by_turns(contestants: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """What every contestant says of itself in each round.

    In a round each is called once, in an order that moves on by one from round to round. So a machine that gets slower
    meanwhile slows all of them, and what one leaves behind in the caches isn't always found by the same other one.
    Numbers of the same round can be divided by each other.
    """
    order = list(contestants)
    said: dict[str, list[float]] = {name: [] for name in order}
    for _ in range(rounds):
        for name in order:
            said[name].append(contestants[name]())
        order.append(order.pop(0))
    return said


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """The lower quartile, the median and the upper quartile of at least two values."""
    lower, median, upper = statistics.quantiles(values, n=4, method="inclusive")
    return lower, median, upper
