"""How many threads torch computes with on the CPU: the setting `threads`."""

import os
import re
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

CAP = 4
"""The layers are too small to gain from many threads. Only one and two were measured (`python -m benchmarks.busy`)."""
HIGHEST = 64
"""A machine with a few cores stands still with several hundred threads that spin."""


def usable_cores(root: Path = Path("/")) -> int:
    """Returns how many cores this process may use, at least 1.

    On Linux that is its affinity and the CPU quota of its control group and those above it, which a container has, for
    example from `docker run --cpus 2`. Quotas of cgroup v1 are not read.

    Args:
        root: where /proc and /sys are.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    own = root / "proc/self/cgroup"
    group = own.read_text(encoding="utf-8").rpartition("0::/")[2].strip() if own.exists() else ""
    for folder in (root / "sys/fs/cgroup" / group / "cpu.max").parents:
        file = folder / "cpu.max"
        quota, _, period = file.read_text(encoding="utf-8").partition(" ") if file.is_file() else ("max", "", "")
        if quota != "max":
            cores = min(cores, max(1, int(quota) // int(period)))
    return cores


def is_on_cpu(accelerator: Any) -> bool:
    """Returns whether a run with this `trainer.accelerator` trains on the CPU."""
    return bool(accelerator == "cpu" or (accelerator in ("auto", None) and not torch.accelerator.is_available()))


def auto_threads(cores: int, processes: int = 1, on_cpu: bool = True, wish: str | None = None) -> int:
    """Returns what `threads: auto` stands for.

    OpenMP's threads wait for each other at every operation, hundreds of times per batch, and spin meanwhile. If another
    program takes one of their cores, all wait for the thread that has lost it, and a batch takes many times as long (39
    to 336 times in benchmarks/results/busy_machine.csv). One thread hardly notices. So one core is left to other
    programs, and a run takes no more than `CAP`, which its processes share. On an accelerator one thread is enough to
    start its kernels.

    The number is a function of the machine and the config, never of the load: the bits of a run depend on it.

    Args:
        cores: how many may be used.
        processes: of this run on this machine.
        on_cpu: whether the CPU trains.
        wish: OMP_NUM_THREADS. The user or torchrun chose it, and torch has read it already, so it is taken as it is.
    """
    if chosen := re.fullmatch(r"\s*0*([1-9]\d*)\s*(,.*)?", wish or ""):  # a list, "4,2", is for nested regions
        return min(int(chosen[1]), HIGHEST)
    return max(1, min(cores - 1, CAP) // processes) if on_cpu else 1


def use_threads(settings: Any, stack: ExitStack) -> None:
    """Replaces `threads: auto` by the number, with which the config gives the same bits anywhere, and sets torch's.

    When the stack is closed, torch's number and the environment are as before.
    """
    from twofold.ranks import warn  # imports Lightning, which scripts that only start trainings don't need

    cores, on_cpu = usable_cores(), is_on_cpu(settings.trainer.accelerator)
    devices = str(settings.trainer.devices)
    processes = max(1, int(devices)) if on_cpu and devices.isdecimal() else 1
    if settings.threads == "auto":
        settings.threads = auto_threads(cores, processes, on_cpu, os.environ.get("OMP_NUM_THREADS"))
    if settings.threads > 1 and (together := processes * settings.threads) > cores:
        fitting = auto_threads(cores, processes)
        warn(f"{together} threads on {cores} cores slow each other down; --threads {fitting} is faster")
    stack.callback(torch.set_num_threads, torch.get_num_threads())
    torch.set_num_threads(settings.threads)
    if "OMP_NUM_THREADS" not in os.environ:  # Lightning's launcher would set another number
        os.environ["OMP_NUM_THREADS"] = str(settings.threads)
        stack.callback(os.environ.pop, "OMP_NUM_THREADS", None)
