"""One progress bar for the whole run."""

import sys
from collections.abc import Callable
from typing import Any

import pytest
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.demos.boring_classes import BoringModel, RandomDataset
from torch import Tensor
from torch.utils.data import DataLoader

from twofold.progress import RunProgress

MakeTrainer = Callable[..., Trainer]

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*smaller than the logging interval"),
]


class Counter(BoringModel):
    fails_at = -1

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        if batch_idx == self.fails_at:
            raise ValueError("broken")
        self.log("train/loss", 0.25, prog_bar=True)
        return super().training_step(batch, batch_idx)


def loader(batches: int) -> DataLoader[Tensor]:
    return DataLoader(RandomDataset(32, batches))


@pytest.fixture
def make(plain_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch) -> MakeTrainer:
    """Makes a trainer that takes the captured stdout for a terminal of 100 columns."""

    def make_trainer(**arguments: Any) -> Trainer:
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        for name in ("LINES", "COLUMNS"):
            monkeypatch.setenv(name, "100")
        return plain_trainer(**{"callbacks": RunProgress(), "enable_progress_bar": True, "max_epochs": -1, **arguments})

    return make_trainer


@pytest.mark.parametrize(
    ("limits", "total"),
    [
        ({"max_steps": 7}, 7),
        ({"max_steps": -1, "max_epochs": 2}, 6),
        ({"max_steps": 7, "max_epochs": 2}, 6),
        ({"max_steps": 5, "max_epochs": 2}, 5),
    ],
)
def test_bar_counts_the_batches_of_the_run(
    make: MakeTrainer, capsys: pytest.CaptureFixture[str], limits: dict[str, int], total: int
) -> None:
    make(**limits, num_sanity_val_steps=1).fit(Counter(), loader(3), loader(2))
    printed = capsys.readouterr().out
    assert f"0/{total}" in printed
    assert f"{total}/{total}" in printed
    assert "loss=0.25" in printed
    assert "train/" not in printed
    assert printed.count("\n") == 1, "the bar stays on its line"
    assert "Validation" not in printed


def test_a_bar_of_the_module_replaces_ours(make: MakeTrainer, capsys: pytest.CaptureFixture[str]) -> None:
    class WithBar(Counter):
        def configure_callbacks(self) -> TQDMProgressBar:
            return TQDMProgressBar()

    make(max_steps=7).fit(WithBar(), loader(3), loader(2))
    printed = capsys.readouterr().out
    assert "Epoch 2" in printed
    assert "0/7" not in printed


@pytest.mark.parametrize("command", ["validate", "test", "predict"])
def test_evaluation_has_a_bar(make: MakeTrainer, capsys: pytest.CaptureFixture[str], command: str) -> None:
    more: dict[str, Any] = {} if command == "predict" else {"verbose": False}
    getattr(make(), command)(Counter(), loader(4), **more)
    assert "4/4" in capsys.readouterr().out


def test_failure_closes_the_bar(make: MakeTrainer, capsys: pytest.CaptureFixture[str]) -> None:
    model = Counter()
    model.fails_at = 2
    with pytest.raises(ValueError, match="broken"):
        make(max_steps=7).fit(model, loader(3), loader(2))
    assert capsys.readouterr().out.endswith("\n")


def test_without_a_terminal_nothing_is_shown(plain_trainer: MakeTrainer, capsys: pytest.CaptureFixture[str]) -> None:
    trainer = plain_trainer(max_steps=2, callbacks=RunProgress(), enable_progress_bar=True)
    trainer.fit(Counter(), loader(3), loader(2))
    assert capsys.readouterr().out == ""
