"""A callback that measures a run's batches, and counts how often the CPU waits for the GPU in them."""

import json
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import mean
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch.autograd import DeviceType
from torch.profiler import profile, record_function

from benchmarks.timing import synchronize

WARM_UP, WINDOW, WINDOWS = 50, 50, 5
"""Batches before the first window, batches in a window, and windows."""
PROFILED = 6
"""Batches in which synchronisations are counted; one in the middle is logged."""
SYNCHRONISING = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize", "cudaMemcpy")
"""Calls of CUDA that wait. `Tensor.item`, and copies that don't say non_blocking, end with the first."""


class Probe(Callback):
    """Measures milliseconds per batch in windows, then counts synchronisations by torch's profiler, and ends the run.

    A batch lasts from its `on_train_batch_start` to that of the next one, so that its logging belongs to it, and so
    does the copy of the next batch.

    Args:
        path: the JSON file to write.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._batch, self._since = 0, 0.0
        self._ms: list[float] = []
        self._is_logged: dict[str, bool] = {}

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        windows, rest = divmod(self._batch - WARM_UP, WINDOW)
        if rest == 0 and 0 <= windows <= WINDOWS:
            synchronize(pl_module.device.type)
            now = time.perf_counter()
            self._ms += [1000 * (now - self._since) / WINDOW] if windows else []
            self._since = now
        first = WARM_UP + WINDOWS * WINDOW
        interval: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
        first += -(first + PROFILED // 2 + 1) % interval  # so that the batch in the middle is logged
        if self._batch == first:
            self._profiling, self._name = ExitStack(), ExitStack()
            self._profile = self._profiling.enter_context(profile())
        if first <= self._batch <= first + PROFILED:
            self._name.close()
            self._name.enter_context(record_function(f"batch {self._batch}"))
        if self._batch == first + PROFILED:
            self._name.close()
            self._profiling.close()
            self._write()
            trainer.should_stop = True
        self._batch += 1

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
        self._is_logged[f"batch {self._batch - 1}"] = pl_module.is_logged()

    def _write(self) -> None:
        events = self._profile.events()
        waits = [event.time_range.start for event in events if event.name in SYNCHRONISING]
        counts: dict[bool, list[int]] = {}
        for event in events:
            is_logged = self._is_logged.get(event.name)
            if is_logged is not None and event.device_type == DeviceType.CPU:  # the GPU has spans of these names, too
                span = event.time_range
                counts.setdefault(is_logged, []).append(sum(span.start <= wait < span.end for wait in waits))
        found: dict[str, Any] = {"twofold fit, ms": self._ms}
        for is_logged, name in ((False, "synchronisations per batch"), (True, "synchronisations, batch logged")):
            found |= {name: mean(counts[is_logged])} if is_logged in counts else {}
        Path(self._path).write_text(json.dumps(found), encoding="utf-8")
