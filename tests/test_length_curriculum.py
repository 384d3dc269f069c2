"""Growing length: when it grows, by how much, and that a resumed run continues it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from anybodys import Anybodys
from lightning.pytorch import Callback, LightningModule, Trainer
from small_modules import Scripted

from callbacks import LengthCurriculum
from datamodules import PalindromeDataModule
from lightning_modules import PalindromeLSTM

MakeTrainer = Callable[..., Trainer]


class Lengths(Callback):
    """Notes the length of each batch and what is logged about it."""

    def __init__(self) -> None:
        self.seen: list[int] = []
        self.validated: set[int] = set()
        self.logged: list[float] = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self.seen.append(batch.digits.shape[1] + 1)

    def on_validation_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, *_: Any) -> None:
        self.validated.add(batch.digits.shape[1] + 1)

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        self.logged.append(float(trainer.callback_metrics["train/length"]))


def fit(
    make: MakeTrainer,
    curriculum: LengthCurriculum,
    accuracies: list[float],
    ckpt_path: Path | None = None,
    **more: Any,
) -> tuple[Lengths, Any]:
    lengths = Lengths()
    trainer = make(**{"max_steps": len(accuracies), "limit_val_batches": 1, "callbacks": [curriculum, lengths], **more})
    data = PalindromeDataModule(length=20, batch_size=4, batches_per_epoch=3)
    trainer.fit(Scripted(accuracies), datamodule=data, ckpt_path=ckpt_path, weights_only=True)
    return lengths, trainer


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"factor": 1.5}, [5, 7, 10, 15, 20, 20, 20]),
        ({"factor": 1.1}, [5, 6, 7, 8, 9, 10, 11]),  # by one digit at least
        ({"factor": 3.0}, [5, 15, 20, 20, 20, 20, 20]),
        ({"factor": 2.0, "start": 20}, [20] * 7),
        ({"factor": 1.1, "least_growth": 2}, [5, 7, 9, 11, 13, 15, 17]),
        ({"factor": 1.3, "least_growth": 3}, [5, 8, 11, 14, 18, 20, 20]),  # 14 · 1.3 = 18.2, more than 3 digits
    ],
)
def test_perfect_batch_makes_the_next_one_longer(
    plain_trainer: MakeTrainer, arguments: dict[str, Any], expected: list[int]
) -> None:
    lengths, _ = fit(plain_trainer, LengthCurriculum(**arguments, perfect_batches=1), [1.0] * 7)
    assert lengths.seen == expected
    assert lengths.logged == expected
    assert lengths.validated == {20}


def test_perfect_batches_count_in_a_row_since_growth(plain_trainer: MakeTrainer) -> None:
    curriculum = LengthCurriculum(start=5, factor=2.0, perfect_batches=3)
    accuracies = [1, 1, 0.99, 1, 1, 1, 1, 1, 0.5, 1, 1, 1, 1]
    lengths, _ = fit(plain_trainer, curriculum, [float(accuracy) for accuracy in accuracies])
    assert lengths.seen == [5] * 6 + [10] * 6 + [20]


def test_checkpoint_holds_length_and_count(plain_trainer: MakeTrainer, tmp_path: Path) -> None:
    lengths, trainer = fit(plain_trainer, LengthCurriculum(start=5, factor=2.0, perfect_batches=3), [1.0] * 5)
    assert lengths.seen == [5, 5, 5, 10, 10]
    trainer.save_checkpoint(tmp_path / "five.ckpt")
    state = torch.load(tmp_path / "five.ckpt", weights_only=True)["callbacks"]["LengthCurriculum"]
    assert state == {"length": 10, "perfect_in_a_row": 2}
    curriculum = LengthCurriculum(start=5, factor=2.0, perfect_batches=3)
    lengths, trainer = fit(plain_trainer, curriculum, [1.0], tmp_path / "five.ckpt", max_steps=8)
    assert lengths.seen == [10, 20, 20]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"factor": 1.0}, "factor is 1.0; write a number above 1"),
        ({"factor": float("nan")}, "factor is nan; write a number above 1"),
        ({"factor": float("inf")}, "factor is inf; write a number above 1"),
        ({"perfect_batches": 0}, "perfect_batches is 0; write 1 or more"),
        ({"least_growth": 0}, "least_growth is 0; write 1 or more"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        LengthCurriculum(**arguments)


@pytest.mark.parametrize("start", [-1, 0, 1, 21])
def test_starts_out_of_range_are_refused(plain_trainer: MakeTrainer, start: int) -> None:
    with pytest.raises(ValueError, match=f"start is {start}; write a length from 2 to 20"):
        fit(plain_trainer, LengthCurriculum(start=start), [0.0])


@pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no `val_dataloader`:UserWarning")
def test_other_data_and_modules_are_refused(plain_trainer: MakeTrainer) -> None:
    data, trainer = PalindromeDataModule(length=20), plain_trainer(callbacks=[LengthCurriculum()])
    with pytest.raises(ValueError, match="needs a datamodule with a length, whose train_length it can set"):
        trainer.fit(PalindromeLSTM(4), data.train_dataloader())
    with pytest.raises(ValueError, match="needs the accuracy of each batch, which this module doesn't return"):
        trainer.fit(Anybodys(), datamodule=data)
