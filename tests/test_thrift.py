"""What a batch needn't pay for."""

import ctypes
import subprocess
import sys
from collections.abc import Callable

import pytest
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.profilers import PassThroughProfiler, Profiler, SimpleProfiler

from runtime.provenance import CONFIGS, ROOT
from runtime.thrift import Unprofiled

Twofold = Callable[..., tuple[int, str, str]]


def pages(first: str) -> int:
    """How many the system hands out, after `first`, while gradients are made and freed a hundred times."""
    code = f"""
{first}
import resource, torch
def batch():
    gradients = [torch.ones(weights) for weights in (800_000, 500_000, 130_000, 30_000) * 2]
for _ in range(3):
    batch()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(100):
    batch()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallopt"), reason="needs glibc, whose malloc it tells"
)
def test_what_is_freed_stays_with_the_process() -> None:
    assert pages("from runtime.thrift import be_thrifty; be_thrifty()") < 100
    assert pages("import runtime.thrift") > 1000


@pytest.mark.parametrize(("asked", "profiler"), [((), Unprofiled), (("--trainer.profiler", "simple"), SimpleProfiler)])
def test_nothing_is_profiled_unless_it_is_asked_for(
    twofold: Twofold, monkeypatch: pytest.MonkeyPatch, asked: tuple[str, ...], profiler: type[Profiler]
) -> None:
    trainers = []
    monkeypatch.setattr(LightningModule, "on_fit_end", lambda module: trainers.append(module.trainer))
    config = CONFIGS / "palindrome_lstm.yaml"
    code, _, complained = twofold("fit", "-c", config, "--trainer.max_steps", 2, *asked)
    assert (code, complained) == (0, "")
    (trainer,) = trainers
    assert type(trainer.profiler) is profiler


def test_unprofiled_is_lightning_s_own_profiler_without_its_contexts(plain_trainer: Callable[..., Trainer]) -> None:
    profiler = Unprofiled()
    assert isinstance(profiler, PassThroughProfiler)
    with profiler.profile("one action"), profiler.profile("another in it"):
        pass
    with pytest.raises(KeyError), profiler.profile("one that fails"):
        raise KeyError
    assert plain_trainer(profiler=profiler).profiler is profiler  # type: ignore[attr-defined]
