"""One step is one batch, also in a plain Trainer and for a module with two optimizers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from callbacks import ImageGrid
from datamodules import MNISTDataModule
from lightning_modules import GAN, gan
from networks.mlp_gan import MLPDiscriminator, MLPGenerator

MakeTrainer = Callable[..., Trainer]


class Count(Callback):
    """Notes `global_step` before and after each batch."""

    def __init__(self) -> None:
        self.before: list[int] = []
        self.after: list[int] = []

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        self.before.append(trainer.global_step)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        self.after.append(trainer.global_step)


def make_gan() -> GAN:
    return GAN(MLPGenerator(latent_dim=5), MLPDiscriminator())


@pytest.mark.parametrize("batches_per_epoch", [100, 3])
def test_seven_steps_are_seven_batches(
    plain_trainer: MakeTrainer, digits: MNISTDataModule, tmp_path: Path, batches_per_epoch: int
) -> None:
    count = Count()
    trainer = plain_trainer(max_steps=7, limit_train_batches=batches_per_epoch, callbacks=[count])
    trainer.fit(make_gan(), datamodule=digits)
    assert count.before == list(range(7))
    assert count.after == list(range(1, 8))
    assert trainer.global_step == 7
    trainer.save_checkpoint(tmp_path / "seven.ckpt")
    assert torch.load(tmp_path / "seven.ckpt", weights_only=True)["global_step"] == 7


def test_without_our_part_lightning_counts_every_batch_twice(
    plain_trainer: MakeTrainer, digits: MNISTDataModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lightning's issue 17958. When this fails, `lightning_modules.step_counting` can go."""
    monkeypatch.setattr(gan, "dont_count", lambda optimizer: None)
    count = Count()
    plain_trainer(max_steps=6, callbacks=[count]).fit(make_gan(), datamodule=digits)
    assert count.after == [2, 4, 6]


def test_a_resumed_game_goes_on_counting(plain_trainer: MakeTrainer, digits: MNISTDataModule, tmp_path: Path) -> None:
    trainer = plain_trainer(max_steps=3)
    trainer.fit(make_gan(), datamodule=digits)
    trainer.save_checkpoint(tmp_path / "three.ckpt")
    count = Count()
    trainer = plain_trainer(max_steps=7, callbacks=[count])
    trainer.fit(make_gan(), datamodule=digits, ckpt_path=tmp_path / "three.ckpt", weights_only=True)
    assert count.after == [4, 5, 6, 7]
    assert trainer.global_step == 7


@pytest.mark.parametrize(("also_at", "expected"), [((), [0, 4, 8]), ((0, 1, 4, 7), [0, 1, 4, 7, 8])])
def test_pictures_keep_to_batches(
    plain_trainer: MakeTrainer, digits: MNISTDataModule, tmp_path: Path, also_at: tuple[int, ...], expected: list[int]
) -> None:
    grid = ImageGrid(every_n_batches=4, also_at=also_at)
    plain_trainer(max_steps=9, callbacks=[grid]).fit(make_gan(), datamodule=digits)
    names = sorted(path.name for path in (tmp_path / "images").iterdir())
    assert names == [f"step_{step:06d}.png" for step in expected]
