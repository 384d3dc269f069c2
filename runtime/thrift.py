"""What a small network's batches would pay for and get nothing by."""

import ctypes
import os
import sys
from contextlib import AbstractContextManager, nullcontext

from lightning.pytorch.profilers import PassThroughProfiler

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""Parameters of glibc's mallopt(3)."""
LARGE, KEPT = 2**25, 2**27
"""Bytes from which on a piece still goes back to the system as soon as it is freed, and of those that may stay free."""

_NOTHING = nullcontext()


def be_thrifty() -> None:
    """Spares this process what costs time in every batch.

    Gradients are made anew and freed in each. By default glibc gives pieces of their size back to the system, which
    clears them and hands them out again, page by page; here they stay with the process. Lightning sets
    PYTORCH_NVML_BASED_CUDA_CHECK, by which torch asks the driver for GPUs before every step of an optimizer.
    """
    os.environ.pop("PYTORCH_NVML_BASED_CUDA_CHECK", None)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:  # musl's malloc has no such thing
        mallopt(TRIM_THRESHOLD, KEPT)
        mallopt(MMAP_THRESHOLD, LARGE)


class Unprofiled(PassThroughProfiler):
    """Measures nothing, as Lightning's own does, but makes no new context for each of a batch's 150 hooks."""

    def profile(self, action_name: str) -> AbstractContextManager[None]:  # type: ignore[override]
        return _NOTHING
