"""No profiler, as long as nobody asks for one."""

from collections.abc import Callable

import pytest
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.profilers import Profiler, SimpleProfiler

from twofold.provenance import CONFIGS
from twofold.unprofiled import Unprofiled

Twofold = Callable[..., tuple[int, str, str]]


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


def test_no_context_is_made_and_one_serves_within_another(plain_trainer: Callable[..., Trainer]) -> None:
    profiler = Unprofiled()
    assert profiler.profile("one action") is profiler.profile("another")
    with profiler.profile("one action"), profiler.profile("another in it"):
        pass
    with pytest.raises(KeyError), profiler.profile("one that fails"):
        raise KeyError
    assert plain_trainer(profiler=profiler).profiler is profiler  # type: ignore[attr-defined]
