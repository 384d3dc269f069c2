"""One bar for the whole run."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from twofold.progress import RunProgress


class Counter(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        loss: Tensor = self.layer(batch[0]).sum() * 0 + 0.25
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return batch[0]

    test_step = predict_step = validation_step

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def loader(batches: int) -> DataLoader[tuple[Tensor, ...]]:
    return DataLoader(TensorDataset(torch.zeros(batches, 1)))


def trainer(tmp_path: Path, bar: RunProgress, **arguments: Any) -> Trainer:
    return Trainer(
        accelerator="cpu",
        callbacks=[bar],
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=tmp_path,
        max_epochs=arguments.pop("max_epochs", -1),
        **arguments,
    )


@pytest.mark.parametrize(
    ("limits", "total"),
    [
        ({"max_steps": 7}, 7),
        ({"max_steps": -1, "max_epochs": 2}, 6),
        ({"max_steps": 7, "max_epochs": 2}, 6),
        ({"max_steps": 5, "max_epochs": 2}, 5),
    ],
)
def test_counts_the_batches_of_the_whole_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], limits: dict[str, int], total: int
) -> None:
    trainer(tmp_path, RunProgress(), **limits).fit(Counter(), loader(3), loader(2))
    printed = capsys.readouterr().out
    assert f"{total}/{total}" in printed
    assert "loss 0.25" in printed
    assert "train/" not in printed
    assert len(printed.strip().splitlines()) == 1, "validation while training draws no bar of its own"


@pytest.mark.parametrize("command", ["validate", "test", "predict"])
def test_evaluating_has_a_bar_too(tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str) -> None:
    getattr(trainer(tmp_path, RunProgress()), command)(
        Counter(), loader(4), **({"verbose": False} if command != "predict" else {})
    )
    printed = capsys.readouterr().out
    assert printed.startswith(command)
    assert "4/4" in printed


def test_disabled_it_is_silent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bar = RunProgress()
    bar.disable()
    trainer(tmp_path, bar, max_steps=2).fit(Counter(), loader(3), loader(2))
    assert capsys.readouterr().out == ""
    bar.enable()
    trainer(tmp_path, bar, max_steps=2).fit(Counter(), loader(3), loader(2))
    assert "2/2" in capsys.readouterr().out


def test_a_failure_takes_the_bar_down(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Failing(Counter):
        def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
            if batch_idx == 2:
                raise ValueError("broken")
            return super().training_step(batch, batch_idx)

    bar = RunProgress()
    with pytest.raises(ValueError, match="broken"):
        trainer(tmp_path, bar, max_steps=7).fit(Failing(), loader(3), loader(2))
    assert "2/7" in capsys.readouterr().out
    assert bar._progress is None
