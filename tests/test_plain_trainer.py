"""Modules and datamodules in a plain Trainer behave as Lightning's own do."""

import copy
import pickle
from collections.abc import Callable
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningDataModule, Trainer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.bitwise_diff import unequal
from callbacks import Checkpoints
from datamodules import MNISTDataModule, PalindromeDataModule
from lightning_modules import GAN, DigitClassifier, PalindromeLSTM, PalindromeRNN
from lightning_modules.base import TwofoldModule
from networks.classifiers import DigitReader
from networks.mlp_gan import MLPDiscriminator, MLPGenerator

MakeTrainer = Callable[..., Trainer]
Save = Callable[..., None]


class Smoothed(PalindromeLSTM):
    def __init__(self, smoothing: float = 0.1, **kw: Any) -> None:
        super().__init__(**kw)
        self.save_hyperparameters()  # as users of Lightning do
        self.smoothing = smoothing


class Wide(Smoothed):
    def __init__(self, width: int, **kw: Any) -> None:
        super().__init__(hidden_size=2 * width, **kw)


class PassedOn(PalindromeRNN):
    def __init__(self, *args: Any, clip: Any = None, **kw: Any) -> None:
        super().__init__(*args, **kw)
        self.clip = clip


class OwnGAN(GAN):
    def __init__(self, *args: Any, latent: int = 5, **kw: Any) -> None:
        super().__init__(MLPGenerator(latent, [8]), MLPDiscriminator([8]), *args, **kw)


class Distilled(DigitClassifier):
    def __init__(self, network: nn.Module, teachers: Any = (), table: Any = None) -> None:
        super().__init__(network)
        self.teachers, self.table = nn.ModuleList(teachers), table


class Own(TwofoldModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)


class Noisy(PalindromeDataModule):
    def __init__(self, noise: float = 0.1, **kw: Any) -> None:
        super().__init__(**kw)
        self.noise = noise


class Flipped(MNISTDataModule):
    def __init__(self, *args: Any, flip: bool = False) -> None:
        super().__init__(*args)
        self.flip = flip


SGD = partial(torch.optim.SGD, lr=0.1)
SUBCLASSES: list[tuple[Any, dict[str, Any]]] = [
    (lambda: Smoothed(0.3, hidden_size=4), {"smoothing": 0.3, "hidden_size": 4}),
    (lambda: Wide(3, smoothing=0.2), {"hidden_size": 6, "smoothing": 0.2}),
    (lambda: PassedOn(4, "relu", clip=np.float64(2), kernel="equations"), {"nonlinearity": "relu", "clip": 2.0}),
    (lambda: OwnGAN(SGD, latent=3, ema_decay=0.9), {"ema_decay": 0.9}),
    (lambda: Distilled(DigitReader(3), [DigitReader(2)], {"a": (1, Path("b"))}), {"table": {"a": [1, "b"]}}),
    (Own, {}),
]
DATA: list[tuple[Any, dict[str, Any]]] = [
    (lambda: PalindromeDataModule(5, 8, test_lengths=[5, 9]), {"length": 5, "test_lengths": [5, 9]}),
    (lambda: Noisy(0.3, length=5, batch_size=8), {"noise": 0.3, "length": 5, "batch_size": 8}),
    (lambda: Flipped(Path("data"), "packaged", flip=True), {"root": Path("data"), "source": "packaged", "flip": True}),
]


def data_for(module: TwofoldModule) -> LightningDataModule:
    if isinstance(module, GAN):
        return MNISTDataModule(source="packaged", batch_size=8)
    return PalindromeDataModule(5, batch_size=8)


@pytest.mark.parametrize(("make", "kept"), SUBCLASSES)
def test_a_subclass_is_rebuilt_with_its_arguments(
    save_checkpoint: Save, tmp_path: Path, make: Callable[[], Any], kept: dict[str, Any]
) -> None:
    module, path = make(), tmp_path / "some.ckpt"
    save_checkpoint(module, path)
    loaded = type(module).load_from_checkpoint(path)
    assert {name: getattr(loaded if hasattr(loaded, name) else loaded.network, name) for name in kept} == kept
    assert list(unequal(loaded.state_dict(), module.state_dict())) == []
    assert loaded.hparams == module.hparams
    assert all(part.training for part in loaded.modules())


@pytest.mark.parametrize(("make", "kept"), DATA)
def test_a_datamodule_is_rebuilt_with_its_arguments(
    plain_trainer: MakeTrainer, tmp_path: Path, make: Callable[[], Any], kept: dict[str, Any]
) -> None:
    data, trainer = make(), plain_trainer(1, limit_val_batches=0)
    trainer.fit(OwnGAN() if isinstance(data, MNISTDataModule) else Smoothed(hidden_size=4), datamodule=data)
    trainer.save_checkpoint(tmp_path / "some.ckpt")
    loaded = type(data).load_from_checkpoint(tmp_path / "some.ckpt")
    assert {name: getattr(loaded, name) for name in ("seed", *kept)} == {"seed": data.seed, **kept}


class Colour(Enum):
    RED = 1


def test_keywords_of_loading_are_taken_or_refused(save_checkpoint: Save, tmp_path: Path) -> None:
    path, gan_path = tmp_path / "some.ckpt", tmp_path / "gan.ckpt"
    save_checkpoint(PassedOn(4, clip=Colour.RED), path)
    with pytest.raises(ValueError, match="can't hold the arguments of 'Colour'; pass the object itself"):
        PassedOn.load_from_checkpoint(path)
    assert PassedOn.load_from_checkpoint(path, {"cuda:0": "cpu"}, clip=Colour.RED, weights_only=True).clip is Colour.RED
    save_checkpoint(OwnGAN(), gan_path)
    assert OwnGAN.load_from_checkpoint(gan_path, strict=False, ema_decay=0.9).ema is not None
    refused: list[tuple[dict[str, Any], str]] = [
        ({"strict": True, "ema_decay": 0.9}, "Missing key"),
        ({"hparams_file": "hparams.yaml"}, "hparams_file is hparams.yaml, but arguments come from the checkpoint"),
        ({"weights_only": False}, "weights_only is False, but .* leave it out"),
        ({"latnt": 3}, "unexpected keyword argument 'latnt'; its arguments are .*latent.*ema_decay"),
    ]
    for keywords, words in refused:
        with pytest.raises(ValueError, match=words):
            OwnGAN.load_from_checkpoint(gan_path, **keywords)
    with pytest.raises(RuntimeError, match="device type at start of device string: gpu"):
        OwnGAN.load_from_checkpoint(gan_path, map_location="gpu")


MODULES = [lambda: OwnGAN(ema_decay=0.9), lambda: Smoothed(hidden_size=4)]


@pytest.mark.parametrize("make", MODULES)
def test_modules_data_and_trainer_can_be_pickled(plain_trainer: MakeTrainer, make: Callable[[], Any]) -> None:
    module, trainer = make(), plain_trainer(2, limit_val_batches=1)
    data = data_for(module)
    pickle.dumps((module, data))
    trainer.fit(module, datamodule=data)
    trainer.test(module, datamodule=data, verbose=False)
    for same in (copy.deepcopy(module), pickle.loads(pickle.dumps(trainer)).lightning_module):
        assert list(unequal(same.state_dict(), module.state_dict())) == []


@pytest.mark.slow
@pytest.mark.parametrize("make", MODULES)
def test_two_spawned_processes_train(plain_trainer: MakeTrainer, make: Callable[[], Any]) -> None:
    module = make()
    before = copy.deepcopy(module.state_dict())
    strategy = "ddp_spawn_find_unused_parameters_true" if isinstance(module, GAN) else "ddp_spawn"
    plain_trainer(2, limit_val_batches=1, devices=2, strategy=strategy).fit(module, datamodule=data_for(module))
    assert list(unequal(module.state_dict(), before)) != []


@pytest.mark.parametrize("target", ["last", "second_half"])
def test_loaders_of_a_user_are_evaluated(plain_trainer: MakeTrainer, target: Any) -> None:
    module, loaders = PalindromeLSTM(4, target=target), []
    for length in (5, 5, 9):
        batch = next(iter(PalindromeDataModule(length, 12, target).train_dataloader()))
        loaders.append(DataLoader(TensorDataset(*batch), batch_size=8))
    for evaluate in (plain_trainer().test, plain_trainer().validate):
        alone = [evaluate(module, loader, verbose=False)[0] for loader in loaders]
        together = evaluate(module, loaders, verbose=False)
        assert together == [{f"{key}/dataloader_idx_{n}": v for key, v in each.items()} for n, each in enumerate(alone)]
    assert len(plain_trainer().predict(module, loaders) or []) == 3


def test_a_second_trainer_finds_best_and_last(plain_trainer: MakeTrainer, tmp_path: Path) -> None:
    def trainer(steps: int) -> Trainer:
        arguments = {"enable_checkpointing": True, "val_check_interval": 2, "logger": True}
        return plain_trainer(steps, callbacks=[Checkpoints(monitor="val/accuracy")], **arguments)

    data = PalindromeDataModule(5, batch_size=8, batches_per_epoch=4)
    trainer(4).fit(Smoothed(hidden_size=4), datamodule=data)
    second = trainer(6)
    second.fit(Smoothed(hidden_size=4), datamodule=data, ckpt_path="last")
    assert second.fit_loop.total_batch_idx == 5
    for name in ("best", "last"):
        second.test(datamodule=data, verbose=False, ckpt_path=name)
        assert second.ckpt_path == str(tmp_path / "checkpoints" / f"{name}.ckpt")


@pytest.mark.parametrize("frozen", ["network", "network.weight_hh_l0", "readout"])
@pytest.mark.parametrize("kernel", ["equations", "manual", "native"])
def test_a_frozen_part_of_a_network_stays(plain_trainer: MakeTrainer, frozen: str, kernel: str) -> None:
    module = PalindromeLSTM(4, kernel=kernel, optimizer=partial(torch.optim.AdamW, lr=0.1, weight_decay=0.5))
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(not name.startswith(frozen))
    before = copy.deepcopy(dict(module.named_parameters()))
    plain_trainer(2, limit_val_batches=0, gradient_clip_val=0.1).fit(module, datamodule=data_for(module))
    changed = {name for name, parameter in module.named_parameters() if not parameter.equal(before[name])}
    assert changed == {name for name in before if not name.startswith(frozen)}


class Resting(DigitReader):
    def __init__(self) -> None:
        super().__init__(2)
        self.eval()


def test_the_command_says_that_a_network_is_in_eval_mode(
    twofold: Callable[..., tuple[int, str, str]], recwarn: pytest.WarningsRecorder
) -> None:
    short = "--data.source packaged --trainer.max_steps 1 --trainer.limit_val_batches 0 --checkpoint.monitor null"
    assert twofold(f"fit -c digit_reader {short} --model.network={__name__}.Resting")[0] == 0
    assert "eval mode at the start of training" in "".join(str(each.message) for each in recwarn)
