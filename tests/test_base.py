"""The base class of the modules: resuming, checkpoints without foreign code, schedules as long as the run."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from torch import Tensor
from torch.optim import lr_scheduler
from torch.optim.lr_scheduler import CosineAnnealingLR, OneCycleLR, StepLR

import networks
from benchmarks.bitwise_diff import unequal
from callbacks import Checkpoints, LengthCurriculum
from datamodules import MNISTDataModule, PalindromeDataModule
from lightning_modules import GAN, DigitClassifier, PalindromeLSTM, PalindromeRNN
from lightning_modules.base import fill_schedule_length
from networks import registry
from networks.classifiers import DigitCNN, DigitReader
from networks.mlp_gan import MLPDiscriminator, MLPGenerator

MakeTrainer = Callable[..., Trainer]
Command = Callable[..., tuple[int, str, str]]
Save = Callable[[LightningModule, Path], None]
CONFIGS = Path(__file__).parents[1] / "configs"
ADAM = partial(torch.optim.Adam, lr=1e-2, betas=(0.5, 0.9))
STEPS = partial(StepLR, step_size=3, gamma=0.5)


pytestmark = pytest.mark.usefixtures("run_seed")


GAN_OPTIONS: dict[str, Any] = {"ema_decay": 0.9, "diffaugment_translation": 1, "gradient_penalty": 1.0}
MODULES: dict[str, Callable[[], Any]] = {
    "GAN": lambda: GAN(MLPGenerator(5, [16, 32]), MLPDiscriminator([16]), ADAM, ADAM, STEPS, STEPS, **GAN_OPTIONS),
    "PalindromeLSTM": lambda: PalindromeLSTM(8, "forget_log", 20, optimizer=ADAM, lr_scheduler=STEPS),
    "DigitClassifier": lambda: DigitClassifier(DigitCNN(), ADAM, partial(CosineAnnealingLR, T_max=50)),
}


def data_for(module: LightningModule) -> LightningDataModule:
    if isinstance(module, PalindromeLSTM):
        return PalindromeDataModule(length=20, batch_size=2, batches_per_epoch=5)
    return MNISTDataModule(source="packaged", batch_size=8)


class Lenient(LengthCurriculum):
    """Takes most batches for perfect, so that the length grows long before anything is learned."""

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *batch: Any) -> None:
        outputs = {"accuracy": 1.0 if trainer.global_step % 6 else 0.0}
        super().on_train_batch_end(trainer, pl_module, outputs, *batch)


def train(make: MakeTrainer, name: str, folder: Path, steps: int, resume: Path | None = None) -> Path:
    """Trains a new module with a checkpoint after every batch, and returns the last checkpoint."""
    module = MODULES[name]()
    monitor = "val/d_loss" if name == "GAN" else "val/loss"
    checkpoints = Checkpoints(every_n_train_steps=1, save_top_k=100, monitor=monitor, mode="min")
    trainer = make(
        steps,
        limit_train_batches=5,
        limit_val_batches=1,
        default_root_dir=folder,
        enable_checkpointing=True,
        callbacks=[*([Lenient(start=3, perfect_batches=2)] if name == "PalindromeLSTM" else []), checkpoints],
    )
    trainer.fit(module, datamodule=data_for(module), ckpt_path=resume, weights_only=True if resume else None)
    assert trainer.global_step == steps
    return folder / "checkpoints" / f"step={steps:06d}.ckpt"


def result(path: Path) -> dict[str, Any]:
    """All of a checkpoint but Lightning's bookkeeping."""
    checkpoint = torch.load(path, weights_only=True)
    kept = ("state_dict", "optimizer_states", "lr_schedulers", "global_step", "epoch", "seed", "callbacks")
    return {key: checkpoint[key] for key in kept}


@pytest.mark.parametrize(("name", "seed"), [*((name, "3") for name in MODULES), ("GAN", None)])
def test_resumed_and_extended_runs_have_the_same_bits(
    plain_trainer: MakeTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, seed: str | None
) -> None:
    if seed is None:
        monkeypatch.delenv("PL_GLOBAL_SEED")
    whole = train(plain_trainer, name, tmp_path / "whole", 12)
    expected = result(whole)
    starts = [whole.with_name("step=000003.ckpt"), whole.with_name("step=000005.ckpt")]  # within and after an epoch
    if seed is not None:
        torch.manual_seed(0)
        starts.append(train(plain_trainer, name, tmp_path / "shorter", 4))
    for n, start in enumerate(starts):
        torch.manual_seed(n + 1)
        resumed = result(train(plain_trainer, name, tmp_path / f"{n}", 12, start))
        assert list(unequal(resumed, expected)) == []
    if name == "PalindromeLSTM":
        assert 10 < expected["callbacks"]["Lenient"]["length"] <= 20


def test_dropout_depends_on_seed_and_step_alone(plain_trainer: MakeTrainer) -> None:
    draws: list[Tensor] = []
    for start in (1, 2):
        module = MODULES["DigitClassifier"]()
        torch.manual_seed(start)
        module.network.register_forward_pre_hook(lambda *_: draws.append(torch.rand(4)))
        plain_trainer(3, limit_val_batches=0).fit(module, datamodule=data_for(module))
    first, second = torch.stack(draws[:3]), torch.stack(draws[3:])
    assert first.equal(second)
    assert len(first.unique(dim=0)) == 3


@pytest.mark.parametrize(
    ("factory", "filled"),
    [
        (partial(lr_scheduler.LinearLR, end_factor=0.0), {"total_iters": 70}),
        (lr_scheduler.CosineAnnealingLR, {"T_max": 70}),
        (partial(OneCycleLR, max_lr=1.0), {"total_steps": 70}),
        (partial(OneCycleLR, max_lr=1.0, epochs=3, steps_per_epoch=5), {}),
        (partial(lr_scheduler.LinearLR, total_iters=9), {}),
        (partial(StepLR, step_size=3), {}),
        (lambda optimizer: StepLR(optimizer, 3), {}),
    ],
)
def test_a_missing_schedule_length_is_filled(factory: Any, filled: dict[str, int]) -> None:
    result: Any = fill_schedule_length(factory, 70)
    if not filled:
        assert result is factory
    else:
        assert result.keywords == {**getattr(factory, "keywords", {}), **filled}


def test_a_checkpoint_of_the_command_names_no_class_path(twofold: Command) -> None:
    short = "--data.source packaged --data.batch_size 8 --trainer.max_steps 2 --trainer.callbacks null"
    code, said, _ = twofold(f"fit -c {CONFIGS}/gan.yaml {short}")
    assert code == 0
    path = Path(said.splitlines()[-1].removeprefix("results in "), "checkpoints", "last.ckpt")
    content = repr(torch.load(path, weights_only=True))
    assert "'MLPConvGenerator'" in content
    assert not [word for word in ("class_path", "instantiator", "networks.") if word in content]
    loaded = GAN.load_from_checkpoint(path)
    adam = loaded.generator_optimizer(loaded.generator.parameters())
    assert (adam.defaults["lr"], list(adam.defaults["betas"])) == (0.001523, [0.0, 0.99])
    assert loaded.discriminator_lr_scheduler(adam).end_factor == 0  # type: ignore[misc,union-attr]


class UsersNetwork(DigitReader):
    """A network that isn't registered."""


def test_a_users_network_is_registered_or_passed(
    save_checkpoint: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_classes", dict(registry._classes))
    module, path = DigitClassifier(UsersNetwork(7)), tmp_path / "some.ckpt"
    save_checkpoint(module, path)
    with pytest.raises(ValueError, match="'UsersNetwork', which isn't registered"):
        DigitClassifier.load_from_checkpoint(path)
    passed = DigitClassifier.load_from_checkpoint(path, network=UsersNetwork(7))
    networks.register("UsersNetwork", UsersNetwork)
    for loaded in (passed, DigitClassifier.load_from_checkpoint(path)):
        assert list(unequal(loaded.state_dict(), module.state_dict())) == []


LSTM_ARGUMENTS = dict(PalindromeLSTM(8).hparams)
CLASSIFIER_ARGUMENTS = dict(DigitClassifier(DigitCNN()).hparams)
HOSTILE_VALUES: list[Any] = [
    {"class_path": "hostile.Network"},
    {"_class_path": "hostile.Network", "_instantiator": "hostile.instantiate"},
    {"name": "hostile.Network", "arguments": {}},
    {"name": "StepLR", "arguments": {"step_size": 3}},
    "hostile.Network",
]
HOSTILE: list[tuple[Any, Any]] = [
    *(
        (DigitClassifier, {**CLASSIFIER_ARGUMENTS, argument: value})
        for argument in ("network", "optimizer", "lr_scheduler")
        for value in HOSTILE_VALUES
    ),
    (PalindromeLSTM, {"class_path": "hostile.Network"}),
    (PalindromeLSTM, {**LSTM_ARGUMENTS, "_instantiator": "hostile.instantiate"}),
    (PalindromeLSTM, {**LSTM_ARGUMENTS, "hidden_size": {"class_path": "hostile.Network"}}),
    (PalindromeLSTM, {**LSTM_ARGUMENTS, "kernel": ["hostile"]}),
    (PalindromeLSTM, "hostile.Network"),
    (PalindromeLSTM, None),
]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("module", "arguments"), HOSTILE)
def test_hostile_arguments_are_refused_and_import_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: Any, arguments: Any
) -> None:
    (tmp_path / "hostile.py").write_text(f"open({str(tmp_path / 'imported')!r}, 'w')\n")
    monkeypatch.syspath_prepend(tmp_path)
    checkpoint = {"state_dict": {}, "hyper_parameters": arguments, "seed": 3}
    torch.save(checkpoint, tmp_path / "some.ckpt")
    with pytest.raises(ValueError, match=r"the file|is not a checkpoint|doesn't fit"):
        module.load_from_checkpoint(tmp_path / "some.ckpt")
    assert not (tmp_path / "imported").exists()


def test_checkpoints_that_do_not_fit_are_refused(save_checkpoint: Save, tmp_path: Path) -> None:
    path = tmp_path / "some.ckpt"
    save_checkpoint(PalindromeLSTM(8), path)
    with pytest.raises(ValueError, match=r"doesn't fit this PalindromeLSTM: .*\n.*\[32, 10\].*\[64, 10\]"):
        PalindromeLSTM.load_from_checkpoint(path, hidden_size=16)
    with pytest.raises(ValueError, match=r"doesn't fit this PalindromeRNN: .*\n.*\[32, 10\].*\[8, 10\]"):
        PalindromeRNN.load_from_checkpoint(path)
    for content in ({}, [1, 2], {"state_dict": 3, "hyper_parameters": {}}):
        torch.save(content, path)
        with pytest.raises(ValueError, match="is not a checkpoint of a GAN"):
            GAN.load_from_checkpoint(path)
