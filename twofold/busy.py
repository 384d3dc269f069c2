"""One line when other programs slow a run down."""

import math
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks.progress.tqdm_progress import Tqdm
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from twofold.listing import resume_command
from twofold.run_folder import RunFolder

SLOWER = 3.0
"""How many times as long as before batches take when the line is printed."""
LESS_CPU = 0.9
"""This process then gets less than this part of the CPU time per second that it got before."""
SECONDS, BATCHES = 5.0, 10
"""The least length of a window. Windows hold pairs of batches, so that a penalty in every second one counts alike."""


class _Batches:
    """Batches of the same shapes: the present window's times in seconds, and the medians of the fastest window."""

    def __init__(self) -> None:
        self.wall: list[float] = []
        self.cpu: list[float] = []
        self.total = 0.0
        self.usual = self.usual_share = math.inf

    def add(self, wall: float, cpu: float) -> float | None:
        """Takes a batch's times.

        Returns:
            After a window in which other programs slowed the batches down, how many times as long as before they took.
        """
        self.wall.append(wall)
        self.cpu.append(cpu)
        self.total += wall
        if self.total < SECONDS or len(self.wall) < BATCHES or len(self.wall) % 2:
            return None
        median = statistics.median(self.wall)
        share = statistics.median(self.cpu) / median
        slower = median / self.usual
        is_busy = slower > SLOWER and share < LESS_CPU * self.usual_share
        self.usual, self.usual_share = min((self.usual, self.usual_share), (median, share))
        self.wall, self.cpu, self.total = [], [], 0.0
        return slower if is_busy else None


class BusyMachine(Callback):
    """Says once when batches take several times what they took before because other programs use the CPU.

    It compares medians over windows of batches with the fastest window before, of batches of the same shapes: those of
    a length curriculum grow. Only the batch itself is timed, because this callback comes before those that draw,
    evaluate or save. A batch may also be slow because it became more work or the clock rate fell. Then this process
    gets as much CPU time per second as before, with other programs it gets less. So it does while it waits for a disk.

    Checkpoints don't hold these times, because they would no longer be the same bits. So a run that is resumed beside
    other programs gets no line: it has no faster batches to compare with.

    Use it with several threads on a CPU: one thread is what the line advises.

    Args:
        folder: the run's, for the command that resumes it.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self._by_shapes: defaultdict[Any, _Batches] = defaultdict(_Batches)
        self._has_said = False

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self._start, self._cpu_start = time.perf_counter(), time.process_time()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._has_said:
            return
        wall, cpu = time.perf_counter() - self._start, time.process_time() - self._cpu_start
        parts = batch.values() if isinstance(batch, Mapping) else batch if isinstance(batch, tuple | list) else [batch]
        slower = self._by_shapes[tuple(getattr(part, "shape", None) for part in parts)].add(wall, cpu)
        if slower is not None:
            self._has_said = True
            rank_zero_only(Tqdm.write)(  # above the progress bar
                f"twofold: batches take {slower:.0f} times as long as before, probably because other programs use the "
                f"CPU; if that lasts, Ctrl-C, then go on with one thread: {resume_command(self.folder)} --threads 1",
                file=sys.stderr,
            )
