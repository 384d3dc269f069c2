"""How much memory something takes at its peak."""

import math
from collections.abc import Callable
from pathlib import Path


def peak_growth(work: Callable[[], object]) -> float:
    """By how many MB this process, a new one, grows at its peak, and so what `work` and what torch loads for it take.

    NaN on systems other than Linux, which don't say.
    """
    before = _megabytes("VmRSS")
    work()
    return _megabytes("VmHWM") - before


def _megabytes(field: str) -> float:
    """A size from /proc/self/status; not from `getrusage`, whose peak starts at that of the process that forked."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((float(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(field)), math.nan)
