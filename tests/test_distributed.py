"""Two processes over gloo train what one trains, in a plain Trainer."""

import hashlib
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.multiprocessing import ProcessRaisedException
from torch.optim import Optimizer

from callbacks import LengthCurriculum
from common.sharding import Ranks
from datamodules import MNISTDataModule, PalindromeDataModule
from lightning_modules import GAN, PalindromeLSTM
from lightning_modules.nan_check import NonFiniteError
from networks.mlp_gan import MLPDiscriminator, MLPGenerator

MakeTrainer = Callable[..., Trainer]
Record = dict[str, Any]
TWO = {"devices": 2, "strategy": "ddp_fork"}


@pytest.fixture(autouse=True)
def _same_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PL_GLOBAL_SEED", "7")


class Recorder(Callback):
    """Notes on each rank what all ranks saw of each batch, and how training ended."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.record: Record = {"batches": [], "lengths": [], "outcomes": []}

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        ranks = Ranks(trainer.global_rank, trainer.world_size)
        seen = [digest(ranks.together(part)) for part in batch]
        self.record["batches"].append(seen)
        self.record["lengths"].append(getattr(getattr(trainer, "datamodule", None), "train_length", None))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if isinstance(pl_module, GAN):
            ranks = Ranks(trainer.global_rank, trainer.world_size)
            noise = pl_module.noise(len(batch[0]), "train", trainer.global_step - 1)
            self.record["batches"][-1].append(digest(ranks.together(noise)))
        self.record["outcomes"].append({name: float(value) for name, value in outputs.items() if name != "loss"})

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.record["weights"] = pl_module.state_dict()
        self.record["logged"] = {name: float(value) for name, value in trainer.callback_metrics.items()}
        torch.save(self.record, self.folder / f"{trainer.world_size} {trainer.global_rank}.pt")


class Hasty(LengthCurriculum):
    """Takes a batch for perfect of which every tenth answer is right."""

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        hasty = {"accuracy": float(outputs["accuracy"] >= 0.1)}
        super().on_train_batch_end(trainer, pl_module, hasty, batch, batch_idx)


@pytest.fixture
def compared(plain_trainer: MakeTrainer, tmp_path: Path) -> Callable[..., tuple[Record, Record]]:
    """What one process and the first of two recorded, after those two were found to be alike."""

    def compare(make: Callable[[], tuple[LightningModule, Any]], *callbacks: Any, **arguments: Any) -> Any:
        for processes in ({}, TWO):
            torch.manual_seed(0)
            module, data = make()
            watching = [*(callback() for callback in callbacks), Recorder(tmp_path)]
            settings = {"limit_val_batches": 0, "log_every_n_steps": 1, **arguments, **processes}
            plain_trainer(callbacks=watching, **settings).fit(module, datamodule=data)
        one, two, other = (torch.load(tmp_path / f"{name}.pt") for name in ("1 0", "2 0", "2 1"))
        assert {name: two[name] for name in two if name != "weights"} == {
            name: other[name] for name in other if name != "weights"
        }
        for name, weights in two["weights"].items():
            assert weights.equal(other["weights"][name]), f"the ranks disagree on {name}"
        return one, two

    return compare


def lstm(lr: float, length: int = 40, hidden_size: int = 32) -> tuple[PalindromeLSTM, PalindromeDataModule]:
    adam = partial(torch.optim.Adam, lr=lr)
    module = PalindromeLSTM(hidden_size, init="forget_log", horizon=length, optimizer=adam)
    return module, PalindromeDataModule(length, batch_size=63, batches_per_epoch=20)


def game(lr: float, batch_size: int = 99, normalisation: Any = "none", **settings: Any) -> tuple[GAN, MNISTDataModule]:
    adam = partial(torch.optim.Adam, lr=lr, betas=(0.0, 0.99))
    networks = MLPGenerator(16, [32, 64], normalisation), MLPDiscriminator([64, 32])
    return GAN(*networks, adam, adam, **settings), MNISTDataModule(source="packaged", batch_size=batch_size)


def farthest(one: Record, two: Record) -> float:
    return max(float((weights - two["weights"][name]).abs().max()) for name, weights in one["weights"].items())


def digest(rows: Tensor) -> str:
    return hashlib.blake2b(rows.numpy().tobytes(), digest_size=8).hexdigest()


def test_a_growing_lstm_in_float64(compared: Callable[..., tuple[Record, Record]]) -> None:
    grows = partial(Hasty, start=2, perfect_batches=2)
    settings = {"precision": "64-true", "gradient_clip_val": 1.0, "max_steps": 50}
    one, two = compared(partial(lstm, 1e-3), grows, **settings)
    assert one["lengths"][-1] == 40
    assert (one["batches"], one["lengths"]) == (two["batches"], two["lengths"])
    assert farthest(one, two) < 1e-6
    assert two["logged"] == pytest.approx(one["logged"], abs=1e-9)


RECIPES = {
    "relativistic": {"loss": "relativistic", "r1": 1.0, "r2": 1.0, "d_reg_interval": 2, "translation": 2},
    "wgan_gp": {"loss": "wasserstein", "gradient_penalty": 10.0, "n_critic": 2},
}


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_game_in_float64(compared: Callable[..., tuple[Record, Record]], recipe: str) -> None:
    make = partial(game, 1e-3, batch_size=999, ema_decay=0.9, **RECIPES[recipe])
    one, two = compared(make, precision="64-true", max_steps=20)  # of which every fourth ends an epoch, with 503 rows
    assert one["batches"] == two["batches"]
    assert farthest(one, two) < 1e-6
    assert two["logged"] == pytest.approx(one["logged"], abs=1e-6)
    for ours, theirs in zip(one["outcomes"], two["outcomes"], strict=True):
        assert theirs == pytest.approx(ours, abs=1e-6)


def test_float32_sees_the_same_and_learns_as_well(compared: Callable[..., tuple[Record, Record]]) -> None:
    """Rounding parts the weights, as it would on another machine; what is learned is as good."""
    grows = partial(LengthCurriculum, start=2, perfect_batches=2)
    one, two = compared(partial(lstm, 1e-2, length=8), grows, gradient_clip_val=1.0, max_steps=150)
    assert one["batches"][:20] == two["batches"][:20]
    first = [n for n, (now, then) in enumerate(zip(one["lengths"], one["lengths"][1:])) if now != then][:2]  # noqa: B905
    assert len(first) == 2
    assert one["lengths"][: first[1] + 2] == two["lengths"][: first[1] + 2]
    assert [record["outcomes"][-1]["accuracy"] for record in (one, two)] == [1, 1]


def test_a_game_in_float32_sees_the_same(compared: Callable[..., tuple[Record, Record]]) -> None:
    one, two = compared(partial(game, 2e-3, r1=1.0, ema_decay=0.9), max_steps=10)
    assert one["batches"] == two["batches"]
    assert farthest(one, two) < 0.1


def test_with_batchnorm_the_ranks_agree_and_differ_from_one(compared: Callable[..., tuple[Record, Record]]) -> None:
    one, two = compared(partial(game, 1e-3, normalisation="batch", ema_decay=0.9), precision="64-true", max_steps=10)
    assert one["batches"] == two["batches"]
    assert farthest(one, two) > 1e-4, "each rank normalises its own rows"
    assert any(name.endswith("running_mean") for name in one["weights"])


class Doubtful(PalindromeLSTM):
    """Has a bad loss on rank 1 alone, and notes by what each rank ends."""

    def __init__(self, folder: Path) -> None:
        super().__init__(hidden_size=8)
        self.folder = folder

    def save_arguments(self) -> None:
        """It is never saved."""

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        try:
            super().on_before_optimizer_step(optimizer)
        except NonFiniteError as error:
            (self.folder / f"rank {self.trainer.global_rank}").write_text(str(error))
            self.trainer.strategy.barrier()  # for the first to end ends all
            raise

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> dict[str, Tensor]:
        outcome = super().training_step(batch, batch_idx)
        if self.trainer.global_step == 2 and self.trainer.global_rank == 1:
            outcome["loss"] = outcome["loss"] * math.inf
        return outcome


def test_a_loss_that_is_bad_on_one_rank_ends_all(plain_trainer: MakeTrainer, tmp_path: Path) -> None:
    module, data = Doubtful(tmp_path), PalindromeDataModule(5, batch_size=8)
    with pytest.raises(ProcessRaisedException, match="NonFiniteError"):
        plain_trainer(10, limit_val_batches=0, **TWO).fit(module, datamodule=data)
    ends = [(tmp_path / f"rank {rank}").read_text() for rank in range(2)]
    assert ends[0].startswith("after 2 batches the gradient of ")
    assert ends[1] == "after 2 batches the loss is inf"


def test_validation_is_of_all_ranks(plain_trainer: MakeTrainer) -> None:
    found = []
    for processes in ({}, TWO):
        module, _ = game(1e-3, loss="relativistic")
        module.on_load_checkpoint({"seed": 7})
        data = MNISTDataModule(source="packaged", batch_size=99)
        torch.manual_seed(0)
        trainer = plain_trainer(**processes)
        found.append(trainer.validate(module, datamodule=data, verbose=False)[0])
    one, two = found
    assert two == pytest.approx(one, abs=1e-5)


def test_other_strategies_are_refused() -> None:
    module, _ = lstm(1e-3)
    module._trainer = type("Sharded", (), {"world_size": 2, "strategy": object()})()
    with pytest.raises(ValueError, match="by the strategy ddp, not by a object; write strategy: auto"):
        module.setup("fit")
