"""Two processes under Lightning's DDPStrategy train what one process trains, in a plain Trainer."""

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.multiprocessing import ProcessRaisedException

from callbacks import LengthCurriculum
from datamodules import FlipFlopDataModule, MNISTDataModule, PalindromeDataModule
from lightning_modules import GAN, DigitClassifier, PalindromeLSTM, SequenceModel
from lightning_modules.base import NonFiniteError
from networks.conditional import ConditionalBatchNorm
from networks.gru import GRU
from networks.mlp_conv_gan import MLPConvGenerator, PixelUnshuffleDiscriminator
from networks.mlp_gan import MLPDiscriminator, MLPGenerator

MakeTrainer = Callable[..., Trainer]
Run = dict[str, Any]
Compare = Callable[..., tuple[Run, Run]]
LSTM_ON_TWO = {"devices": 2, "strategy": "ddp_fork"}
GAN_ON_TWO = {"devices": 2, "strategy": "ddp_fork_find_unused_parameters_true"}
slow = pytest.mark.slow


pytestmark = pytest.mark.usefixtures("run_seed")


class Recorder(Callback):
    """Saves each rank's outputs of all batches, the curriculum's lengths, and the weights and metrics at the end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.run: Run = {"outputs": [], "lengths": []}

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, outputs: Any, *_: Any) -> None:
        # `loss` is the rank's own; DDP averages its gradients
        self.run["outputs"].append({name: float(value) for name, value in outputs.items() if name != "loss"})
        self.run["lengths"].append(getattr(trainer.datamodule, "train_length", None))  # type: ignore[attr-defined]

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        self.run["logged"] = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self.run["weights"] = module.state_dict()
        torch.save(self.run, self.folder / f"{trainer.world_size} {trainer.global_rank}.pt")


@pytest.fixture
def compare(plain_trainer: MakeTrainer, tmp_path: Path) -> Compare:
    """Trains in one process and in two, checks that the ranks agree, and returns both runs."""

    def run(make: Callable[[], tuple[LightningModule, Any, list[Any]]], **settings: Any) -> tuple[Run, Run]:
        for two in (False, True):
            torch.manual_seed(0)
            module, data, callbacks = make()
            on_two = GAN_ON_TWO if isinstance(module, GAN) else LSTM_ON_TWO
            more = {"precision": "64-true", "log_every_n_steps": 1, **settings, **(on_two if two else {})}
            trainer = plain_trainer(callbacks=[*callbacks, Recorder(tmp_path)], **{"limit_val_batches": 1, **more})
            trainer.fit(module, datamodule=data)
        one, two_first, two_second = (torch.load(tmp_path / f"{name}.pt") for name in ("1 0", "2 0", "2 1"))
        assert farthest(two_first, two_second) == 0
        assert {**two_first, "weights": 0} == {**two_second, "weights": 0}
        return one, two_first

    return run


def farthest(one: Run, other: Run) -> float:
    """The largest difference between two runs' weights, buffers and averages."""
    return max(float((one["weights"][name] - other["weights"][name]).abs().max()) for name in one["weights"])


class FastCurriculum(LengthCurriculum):
    """Counts a batch as perfect when a tenth of its answers is right."""

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        rounded = {"accuracy": float(outputs["accuracy"] >= 0.1)}
        super().on_train_batch_end(trainer, pl_module, rounded, batch, batch_idx)


def lstm() -> tuple[LightningModule, Any, list[Any]]:
    adam = partial(torch.optim.Adam, lr=1e-3)
    module = PalindromeLSTM(16, init="forget_log", horizon=40, optimizer=adam)
    data = PalindromeDataModule(40, batch_size=63, batches_per_epoch=20)
    return module, data, [FastCurriculum(start=2, perfect_batches=2)]


def gan(normalisation: Any = "none", frozen: str = "", **arguments: Any) -> tuple[LightningModule, Any, list[Any]]:
    adam = partial(torch.optim.Adam, lr=1e-3, betas=(0.0, 0.99))
    module = GAN(MLPGenerator(16, [32, 32], normalisation), MLPDiscriminator([32]), adam, adam, **arguments)
    if frozen:
        module.get_submodule(frozen).requires_grad_(False)
    return module, MNISTDataModule(source="packaged", batch_size=699), []  # 6 batches an epoch, the last of 5


def flip_flop() -> tuple[LightningModule, Any, list[Any]]:
    module = SequenceModel(GRU(5, 16), partial(torch.optim.Adam, lr=1e-3))
    return module, FlipFlopDataModule(20, shortest=4, batch_size=63, batches_per_epoch=20, test_size=65), []


def conditional_gan() -> tuple[LightningModule, Any, list[Any]]:
    generator, discriminator = MLPConvGenerator(8, [16, 16], classes=10), PixelUnshuffleDiscriminator(2, 8, classes=10)
    for layer in generator.layers:
        if isinstance(layer, ConditionalBatchNorm):
            layer.norm = nn.Identity()  # type: ignore[assignment]  # each rank would normalise its own rows
    adam = partial(torch.optim.Adam, lr=1e-3, betas=(0.0, 0.99))
    _, data, callbacks = gan()
    return GAN(generator, discriminator, adam, adam, **REGULARISED), data, callbacks


REGULARISED: dict[str, Any] = {"r1": 1.0, "r2": 1.0, "d_reg_interval": 2, "ema_decay": 0.9}
RUNS = {
    "lstm with a growing length": lstm,
    "flip-flop, of which the ranks have different numbers of targets": flip_flop,
    "gan with r1, r2 and ema": partial(gan, **REGULARISED),
    "class-conditional gan": conditional_gan,
    "relativistic gan with diffaugment": partial(gan, loss="relativistic", diffaugment_translation=2, **REGULARISED),
    "wgan-gp": partial(gan, loss="wasserstein", gradient_penalty=10.0, n_critic=2),
    "gan with a frozen discriminator": partial(gan, frozen="discriminator"),
    "gan with a frozen generator": partial(gan, frozen="generator"),
    "gan with a frozen layer": partial(gan, frozen="discriminator.layers.0"),
}


@pytest.mark.parametrize(
    ("name", "steps"), [*((name, 8) for name in [*RUNS][:4]), *(pytest.param(name, 50, marks=slow) for name in RUNS)]
)
def test_two_processes_end_where_one_does(compare: Compare, name: str, steps: int) -> None:
    one, two = compare(RUNS[name], max_steps=steps, gradient_clip_val=None if "gan" in name else 1.0)
    assert one["lengths"] == two["lengths"]
    assert farthest(one, two) < 1e-6
    assert two["logged"] == pytest.approx(one["logged"], abs=1e-6)
    for ours, theirs in zip(one["outputs"], two["outputs"], strict=True):
        assert theirs == pytest.approx(ours, abs=1e-6)


def test_two_processes_test_what_one_does(plain_trainer: MakeTrainer) -> None:
    module, data, _ = flip_flop()
    module.get_parameter("readout.bias").data[1] = 10.0  # answers 1
    one, two = (plain_trainer(**on).test(module, data, verbose=False) for on in ({}, LSTM_ON_TWO))
    assert len(one) == len(two) == 6
    assert all(0.2 < accuracy < 0.8 for logged in one for accuracy in logged.values())
    for ours, theirs in zip(one, two, strict=True):
        assert theirs == pytest.approx(ours, abs=1e-6)


class MeanPixel(nn.Module):
    """A classifier of digits whose only normalised feature is the mean pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(1)
        self.layer = nn.Linear(1, 10)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.layer(self.norm(images.flatten(1).mean(1, keepdim=True)))
        return logits


def classifier() -> tuple[LightningModule, Any, list[Any]]:
    return DigitClassifier(MeanPixel()), MNISTDataModule(source="packaged", batch_size=999), []


def test_running_statistics_are_averaged_over_the_ranks(compare: Compare) -> None:
    one, two = compare(classifier, max_steps=6)
    mean = "network.norm.running_mean"
    torch.testing.assert_close(two["weights"][mean], one["weights"][mean], rtol=1e-4, atol=0)


@slow
def test_ranks_agree_on_a_gan_with_batchnorm(compare: Compare) -> None:
    one, two = compare(partial(gan, "batch", ema_decay=0.9), max_steps=10)  # which compares the ranks
    assert farthest(one, two) > 1e-4  # each rank normalises its own rows


class BadOnRankOne(PalindromeLSTM):
    """Has an infinite loss on rank 1 after two batches, and writes the error of each rank to a file."""

    def __init__(self, folder: Path) -> None:
        super().__init__(hidden_size=8)
        self.folder = folder

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        try:
            super().on_before_optimizer_step(optimizer)
        except NonFiniteError as error:
            (self.folder / f"rank {self.trainer.global_rank}").write_text(str(error))
            self.trainer.strategy.barrier()  # the first process that ends would end the other
            raise

    def training_step(self, batch: Any, batch_idx: int) -> dict[str, Tensor]:
        outputs = super().training_step(batch, batch_idx)
        if self.trainer.global_step == 2 and self.trainer.global_rank == 1:
            outputs["loss"] = outputs["loss"] * math.inf
        return outputs


def test_infinite_loss_on_one_rank_ends_both(plain_trainer: MakeTrainer, tmp_path: Path) -> None:
    module, data = BadOnRankOne(tmp_path), PalindromeDataModule(5, batch_size=8)
    with pytest.raises(ProcessRaisedException, match="NonFiniteError"):
        plain_trainer(10, limit_val_batches=0, **LSTM_ON_TWO).fit(module, datamodule=data)
    endings = [(tmp_path / f"rank {rank}").read_text() for rank in range(2)]
    assert endings[0].startswith("after 2 batches the gradient of ")
    assert endings[1] == "after 2 batches the loss is inf"
