"""How the processes of a run are started, connected and ended."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from threading import Thread
from typing import Any

import torch.distributed as dist
from lightning.fabric.utilities.distributed import _set_num_threads_if_needed
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.overrides.distributed import _sync_module_states
from lightning.pytorch.plugins.layer_sync import TorchSyncBatchNorm
from lightning.pytorch.strategies import DDPStrategy, StrategyRegistry
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher

LONGEST_SILENCE = timedelta(minutes=10)
"""That a process may take for what others wait for, such as the final metrics of a GAN; then the others give up."""

LONGEST_END = 60
"""Seconds within which a process has to hear of it when another one on its machine has died."""

LOST = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "Timed out waiting", "Socket Timeout")
"""What torch's messages say when another process doesn't answer."""


class RanksStrategy(DDPStrategy):
    """Lightning's DDP without the wrapper around the module, because our modules make the ranks' gradients one.

    On GPUs BatchNorm is synchronised, on the CPU torch can't.
    """

    def __init__(self, **arguments: Any) -> None:
        super().__init__(timeout=LONGEST_SILENCE, **arguments)

    def _configure_launcher(self) -> None:
        assert self.cluster_environment is not None
        self._launcher = Launcher(self.cluster_environment, self.num_processes, self.num_nodes)

    def setup(self, trainer: Trainer) -> None:
        if self.root_device.type == "cuda" and self._layer_sync is None:
            self._layer_sync = TorchSyncBatchNorm()
        super().setup(trainer)

    def configure_ddp(self) -> None:
        assert isinstance(self.model, LightningModule)
        _sync_module_states(self.model)

    def on_exception(self, exception: BaseException) -> None:
        super().on_exception(exception)
        if isinstance(self._launcher, Launcher):
            self._launcher.is_ending = True


class Launcher(_SubprocessScriptLauncher):
    """Starts the other processes of this machine, by the command that started this one.

    When one of them dies, the others hear of it by the next message that they wait for, and end with a line of their
    own; if after a minute this one still hangs, all are killed. (Lightning would kill them at once and say nothing.)
    """

    is_ending = False
    """Whether this process is about to end by itself."""

    def launch(self, function: Callable[..., Any], *args: Any, trainer: Trainer | None = None, **kwargs: Any) -> Any:
        self.cluster_environment.validate_settings(num_devices=self.num_processes, num_nodes=self.num_nodes)
        if not self.cluster_environment.creates_processes_externally:
            self._call_children_scripts()
            Thread(target=self._watch, daemon=True).start()
        _set_num_threads_if_needed(num_processes=self.num_processes)
        return function(*args, **kwargs)

    def _watch(self) -> None:
        while not any(process.poll() for process in self.procs):
            time.sleep(0.5)
        time.sleep(LONGEST_END)
        if self.is_ending:
            return
        os.write(2, b"twofold: a process of this run has died, and the others don't end; they are killed\n")
        self.kill(signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)

    def end(self, patience: float = 10) -> None:
        """Leaves the others, who then end if they were waiting for this one, and waits for them to end."""
        if self.procs and dist.is_initialized():
            with suppress(RuntimeError):
                dist.destroy_process_group()
        for process in self.procs:
            try:
                process.wait(patience)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def use_ranks_strategy() -> None:
    """Makes "ddp", which Lightning chooses by itself where there is more than one process, mean `RanksStrategy`."""
    StrategyRegistry.register("ddp", RanksStrategy, override=True)


def tells_of_a_lost_process(error: BaseException) -> bool:
    """Whether this is what torch raises when another process has died, or is silent for too long."""
    return isinstance(error, RuntimeError) and any(words in str(error) for words in LOST)
