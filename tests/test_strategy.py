"""How processes are started and ended."""

import subprocess
import sys

import pytest
import torch
from lightning.fabric.plugins.environments import LightningEnvironment
from lightning.pytorch import Trainer
from lightning.pytorch.strategies import DDPStrategy

from twofold import strategy
from twofold.strategy import Launcher, RanksStrategy, tells_of_a_lost_process, use_ranks_strategy


def test_what_lightning_chooses_is_ours() -> None:
    quiet = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    use_ranks_strategy()
    trainer = Trainer(devices=2, **quiet)  # type: ignore[arg-type]
    assert type(trainer.strategy) is RanksStrategy
    assert type(trainer.strategy.launcher) is Launcher
    assert not isinstance(Trainer(devices=1, **quiet).strategy, DDPStrategy)  # type: ignore[arg-type]


@pytest.mark.parametrize(("device", "synchronised"), [("cpu", False), ("cuda", True)])
def test_batchnorm_is_synchronised_on_gpus_only(
    monkeypatch: pytest.MonkeyPatch, device: str, synchronised: bool
) -> None:
    monkeypatch.setattr(DDPStrategy, "setup", lambda self, trainer: None)
    ours = RanksStrategy(parallel_devices=[torch.device(device, 0)], cluster_environment=LightningEnvironment())
    ours.setup(None)  # type: ignore[arg-type]
    assert (ours._layer_sync is not None) == synchronised


def test_who_does_not_end_is_ended() -> None:
    launcher = Launcher(LightningEnvironment(), num_processes=2, num_nodes=1)
    launcher.procs = [subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({t})"]) for t in (0, 60)]
    launcher.end(patience=1)
    assert [process.returncode for process in launcher.procs] == [0, -9]


HANGING = """
import subprocess, sys, time
from lightning.fabric.plugins.environments import LightningEnvironment
from twofold import strategy
strategy.LONGEST_END = 0.2
launcher = strategy.Launcher(LightningEnvironment(), 2, 1)
launcher._call_children_scripts = lambda: launcher.procs.append(subprocess.Popen(["false"]))
launcher.is_ending = sys.argv[1] == "ends"
launcher.launch(time.sleep, 3)
"""


@pytest.mark.parametrize(("how", "code", "told"), [("hangs", -9, "a process of this run has died"), ("ends", 0, "")])
def test_who_hangs_after_another_has_died_is_killed(how: str, code: int, told: str) -> None:
    assert strategy.LONGEST_END == 60
    done = subprocess.run([sys.executable, "-c", HANGING, how], capture_output=True, text=True, timeout=60)
    assert (done.returncode, told in done.stderr) == (code, True)


def test_messages_of_a_lost_process() -> None:
    lost = RuntimeError("[pair.cc:561] Connection closed by peer [127.0.0.1]:25287. This is typically caused by …")
    assert tells_of_a_lost_process(lost)
    assert not tells_of_a_lost_process(RuntimeError("size mismatch"))
    assert not tells_of_a_lost_process(ValueError("Connection closed by peer"))
