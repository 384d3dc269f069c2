"""Grids of a generator's images during training."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from anybodys import Anybodys
from lightning.pytorch import LightningModule, Trainer
from PIL import Image
from small_modules import small_gan
from torch import Tensor

from callbacks import ImageGrid
from datamodules import MNISTDataModule

MakeTrainer = Callable[..., Trainer]


def test_grid_shows_the_averaged_generator(plain_trainer: MakeTrainer, digits: MNISTDataModule, tmp_path: Path) -> None:
    fast = partial(torch.optim.Adam, lr=0.01)  # so that the average differs visibly
    gan, grid = small_gan(ema_decay=0.9, generator_optimizer=fast), ImageGrid(every_n_batches=100, also_at=[3, 4])
    plain_trainer(max_steps=4, callbacks=[grid]).fit(gan, datamodule=digits)
    steps = [f"step_{step:06d}.png" for step in (0, 3, 4)]
    assert sorted(path.name for path in (tmp_path / "images").iterdir()) == steps
    assert gan.ema is not None
    assert grid.noise.shape == (64, 5)
    with torch.no_grad():
        images = gan.ema.module.eval()(grid.noise)
        others = gan.generator.eval()(grid.noise)
    picture = np.asarray(Image.open(tmp_path / "images" / "step_000004.png"))
    for place in (0, 9, 63):  # each image has a margin of 2 pixels and is enlarged twice
        top, left = 2 * (2 + 30 * (place // 8)), 2 * (2 + 30 * (place % 8))
        shown = picture[top : top + 56 : 2, left : left + 56 : 2, 0]
        np.testing.assert_allclose(shown, (images[place, 0] + 1) / 2 * 255, atol=0.51)
        assert np.abs(shown - (others[place, 0].numpy() + 1) / 2 * 255).max() > 1


class Constant(Anybodys):
    """Trains without random numbers."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self.generator.get_parameter("0.weight").sum()


@pytest.mark.parametrize("make_module", [small_gan, Constant])
def test_resumed_run_writes_the_same_bytes(
    plain_trainer: MakeTrainer,
    digits: MNISTDataModule,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    make_module: Callable[[], LightningModule],
) -> None:
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
    trainer = plain_trainer(max_steps=2, callbacks=[ImageGrid(2)], default_root_dir=tmp_path / "whole")
    trainer.fit(make_module(), datamodule=digits)
    trainer.save_checkpoint(tmp_path / "two.ckpt")
    written = []
    for name in ("one", "two"):
        trainer = plain_trainer(max_steps=4, callbacks=[ImageGrid(2), ImageGrid(4)], default_root_dir=tmp_path / name)
        trainer.fit(make_module(), datamodule=digits, ckpt_path=tmp_path / "two.ckpt", weights_only=True)
        (picture,) = (tmp_path / name / "images").iterdir()
        assert picture.name == "step_000004.png"
        written.append(picture.read_bytes())
    assert written[0] == written[1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [({"every_n_batches": 0}, "every_n_batches is 0; write 1"), ({"also_at": [3, -2]}, "also_at holds -2; write")],
)
def test_bad_arguments_are_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ImageGrid(**arguments)
