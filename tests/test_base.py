"""A run is a function of (arguments, seed, step), and a checkpoint brings a module back without foreign code."""

import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.cli import LightningCLI
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR, StepLR

import networks
from callbacks import Checkpoints, LengthCurriculum
from datamodules import MNISTDataModule, PalindromeDataModule
from lightning_modules import GAN, DigitClassifier, PalindromeLSTM, PalindromeRNN
from networks import registry
from networks.classifiers import DigitCNN
from networks.mlp_gan import MLPDiscriminator, MLPGenerator

MakeTrainer = Callable[..., Trainer]

ADAM = partial(torch.optim.Adam, lr=1e-2, betas=(0.5, 0.9))
STEPS = partial(StepLR, step_size=3, gamma=0.5)


def make_gan() -> GAN:
    return GAN(MLPGenerator(latent_dim=5), MLPDiscriminator(), ADAM, ADAM, STEPS, STEPS, ema_decay=0.9)


def make_lstm() -> PalindromeLSTM:
    return PalindromeLSTM(8, "forget_log", 20, optimizer=ADAM, lr_scheduler=STEPS)


def make_rnn() -> PalindromeRNN:
    return PalindromeRNN(8, "relu", "identity", "equation", optimizer=torch.optim.SGD)


def make_classifier() -> DigitClassifier:
    return DigitClassifier(DigitCNN(), ADAM, partial(CosineAnnealingLR, T_max=50))


def make_digits() -> MNISTDataModule:
    return MNISTDataModule(source="packaged", batch_size=8)


def make_palindromes() -> PalindromeDataModule:
    return PalindromeDataModule(length=20, batch_size=2, batches_per_epoch=5)


class Lenient(LengthCurriculum):
    """Takes every second batch for perfect, so that the length grows long before anything is learned."""

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *batch: Any) -> None:
        outputs = {"accuracy": 1.0 if trainer.global_step % 6 else 0.0}
        super().on_train_batch_end(trainer, pl_module, outputs, *batch)


def curriculum() -> list[Any]:
    return [Lenient(start=3, perfect_batches=2)]


RUNS: dict[str, tuple[Callable[[], LightningModule], Callable[[], LightningDataModule], Callable[[], list[Any]]]] = {
    "GAN": (make_gan, make_digits, list),
    "PalindromeLSTM": (make_lstm, make_palindromes, curriculum),
    "DigitClassifier": (make_classifier, make_digits, list),
}


def same_bits(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return isinstance(other, Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same_bits(value, other[key]) for key, value in one.items())
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same_bits, one, other))
    return bool(one == other)


def result(path: Path) -> dict[str, Any]:
    """What training has brought about: all of the checkpoint but Lightning's bookkeeping."""
    checkpoint = torch.load(path, weights_only=True)
    kept = ("state_dict", "optimizer_states", "lr_schedulers", "global_step", "epoch", "seed", "callbacks")
    return {key: checkpoint[key] for key in kept}


def train(make: MakeTrainer, run: str, folder: Path, max_steps: int, resume: Path | None = None) -> Path:
    """Trains a fresh module, saving after every batch, and returns the last checkpoint."""
    module, data, extras = RUNS[run]
    monitor = "val/d_loss" if run == "GAN" else "val/loss"
    trainer = make(
        max_steps=max_steps,
        limit_train_batches=5,
        limit_val_batches=1,
        default_root_dir=folder,
        enable_checkpointing=True,
        callbacks=[*extras(), Checkpoints(every_n_train_steps=1, save_top_k=100, monitor=monitor, mode="min")],
    )
    trainer.fit(module(), datamodule=data(), ckpt_path=resume, weights_only=True if resume else None)
    assert trainer.global_step == max_steps
    return folder / "checkpoints" / f"step={max_steps:06d}.ckpt"


@pytest.mark.parametrize("seed", ["3", None])
@pytest.mark.parametrize("run", RUNS)
def test_a_run_goes_on_from_any_of_its_checkpoints_with_the_same_bits(
    plain_trainer: MakeTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: str, seed: str | None
) -> None:
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
    if seed is not None:
        monkeypatch.setenv("PL_GLOBAL_SEED", seed)
    whole = train(plain_trainer, run, tmp_path / "whole", 12)
    expected = result(whole)
    for step in (3, 5):  # within an epoch, and at the end of one
        torch.manual_seed(step)
        resumed = train(plain_trainer, run, tmp_path / f"from {step}", 12, whole.with_name(f"step={step:06d}.ckpt"))
        assert same_bits(result(resumed), expected)
    if run == "PalindromeLSTM":
        assert 10 < expected["callbacks"]["Lenient"]["length"] <= 20


@pytest.mark.parametrize("run", RUNS)
def test_a_run_that_stops_early_and_is_extended_ends_like_one_that_did_not(
    plain_trainer: MakeTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: str
) -> None:
    monkeypatch.setenv("PL_GLOBAL_SEED", "3")
    torch.manual_seed(1)
    whole = train(plain_trainer, run, tmp_path / "whole", 8)
    torch.manual_seed(1)
    part = train(plain_trainer, run, tmp_path / "part", 4)
    assert not same_bits(result(part)["state_dict"], result(whole)["state_dict"])
    assert same_bits(result(train(plain_trainer, run, tmp_path / "rest", 8, part)), result(whole))


@pytest.mark.parametrize("run", ["GAN", "DigitClassifier"])
def test_another_seed_gives_another_run(
    plain_trainer: MakeTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: str
) -> None:
    results = []
    for seed in ("3", "4"):
        monkeypatch.setenv("PL_GLOBAL_SEED", seed)
        torch.manual_seed(1)  # the same first weights
        results.append(result(train(plain_trainer, run, tmp_path / seed, 1)))
    assert [part["seed"] for part in results] == [3, 4]
    assert not same_bits(results[0]["state_dict"], results[1]["state_dict"])


def test_dropout_depends_on_seed_and_step_not_on_the_global_stream(
    plain_trainer: MakeTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PL_GLOBAL_SEED", "3")
    draws: list[Tensor] = []
    for start in (1, 2):
        module = make_classifier()
        torch.manual_seed(start)
        module.network.register_forward_pre_hook(lambda *_: draws.append(torch.rand(4)))
        plain_trainer(max_steps=3, limit_val_batches=0).fit(module, datamodule=make_digits())
    first, second = torch.stack(draws[:3]), torch.stack(draws[3:])
    assert torch.equal(first, second)
    assert len(first.unique(dim=0)) == 3


MODULES: dict[str, tuple[Callable[[], Any], Tensor]] = {
    "GAN": (make_gan, torch.randn(4, 5)),
    "PalindromeLSTM": (make_lstm, torch.randint(10, (4, 19))),
    "PalindromeRNN": (make_rnn, torch.randint(10, (4, 19))),
    "DigitClassifier": (make_classifier, torch.randn(4, 1, 28, 28)),
}


def saved(make: MakeTrainer, module: LightningModule, path: Path) -> Path:
    """A checkpoint of `module` after two batches."""
    data = make_palindromes() if isinstance(module, PalindromeLSTM | PalindromeRNN) else make_digits()
    trainer = make(max_steps=2, limit_val_batches=0)
    trainer.fit(module, datamodule=data)
    trainer.save_checkpoint(path)
    return path


@pytest.fixture
def checkpoint(plain_trainer: MakeTrainer, tmp_path: Path) -> Callable[..., Path]:
    """Writes a checkpoint of a module, with some of its parts replaced."""

    def write(module: LightningModule, **replaced: Any) -> Path:
        path = saved(plain_trainer, module, tmp_path / "some.ckpt")
        torch.save({**torch.load(path, weights_only=True), **replaced}, path)
        return path

    return write


@pytest.mark.parametrize("name", MODULES)
def test_a_module_comes_back_from_its_checkpoint_alone(plain_trainer: MakeTrainer, tmp_path: Path, name: str) -> None:
    make, inputs = MODULES[name]
    module = make()
    path = saved(plain_trainer, module, tmp_path / "some.ckpt")
    loaded = type(module).load_from_checkpoint(path)
    assert not loaded.training
    assert torch.equal(loaded(inputs), module.eval()(inputs))
    assert dict(loaded.hparams) == dict(module.hparams)
    assert loaded.seed == module.seed
    assert same_bits(loaded.state_dict(), module.state_dict())
    if name != "PalindromeRNN":
        optimizers: Any
        match loaded.configure_optimizers():
            case {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler}}:
                optimizers, schedulers = [optimizer], [scheduler]
            case optimizers, configs:
                schedulers = [config["scheduler"] for config in configs]
        assert [(type(o), o.defaults["lr"], list(o.defaults["betas"])) for o in optimizers] == [
            (torch.optim.Adam, 1e-2, [0.5, 0.9])
        ] * len(optimizers)
        assert {type(s) for s in schedulers} == ({CosineAnnealingLR} if name == "DigitClassifier" else {StepLR})


def strings(value: Any) -> Iterator[str]:
    """Every key and every text within."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from strings(key)
            yield from strings(inner)
    elif isinstance(value, list | tuple | set):
        for inner in value:
            yield from strings(inner)
    elif isinstance(value, str):
        yield value


CLI_CONFIG = """
model:
  class_path: lightning_modules.GAN
  init_args:
    generator: {class_path: networks.mlp_gan.MLPGenerator, init_args: {latent_dim: 5}}
    discriminator: {class_path: networks.mlp_gan.MLPDiscriminator}
    generator_optimizer: {class_path: torch.optim.Adam, init_args: {lr: 0.01, betas: [0.5, 0.9]}}
    discriminator_lr_scheduler: {class_path: torch.optim.lr_scheduler.StepLR, init_args: {step_size: 3}}
    ema_decay: 0.9
data:
  class_path: datamodules.MNISTDataModule
  init_args: {source: packaged, batch_size: 8}
trainer: {max_steps: 2, accelerator: cpu, logger: false, enable_checkpointing: false, enable_progress_bar: false}
"""


def test_a_checkpoint_of_lightnings_own_cli_names_no_class_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py"])  # else Lightning takes pytest's arguments for its own
    (tmp_path / "config.yaml").write_text(CLI_CONFIG)
    cli = LightningCLI(
        LightningModule,
        LightningDataModule,
        subclass_mode_model=True,
        subclass_mode_data=True,
        auto_configure_optimizers=False,
        save_config_callback=None,
        run=False,
        seed_everything_default=1,
        args=["--config", str(tmp_path / "config.yaml"), "--trainer.default_root_dir", str(tmp_path)],
    )
    cli.trainer.fit(cli.model, datamodule=cli.datamodule)
    path = tmp_path / "cli.ckpt"
    cli.trainer.save_checkpoint(path)
    content = torch.load(path, weights_only=True)
    texts = set(strings(content))
    assert "MLPGenerator" in texts
    assert not {text for text in texts if "class_path" in text or "instantiator" in text or "networks." in text}
    assert content["hyper_parameters"] == {
        "generator": {
            "name": "MLPGenerator",
            "arguments": {"latent_dim": 5, "widths": [128, 256, 512, 1024], "normalisation": "batch"},
        },
        "discriminator": {
            "name": "MLPDiscriminator",
            "arguments": {"widths": [512, 256], "normalisation": "none"},
        },
        "generator_optimizer": content["hyper_parameters"]["generator_optimizer"],
        "discriminator_optimizer": content["hyper_parameters"]["discriminator_optimizer"],
        "generator_lr_scheduler": None,
        "discriminator_lr_scheduler": content["hyper_parameters"]["discriminator_lr_scheduler"],
        "loss": "nonsaturating",
        "r1": 0.0,
        "r2": 0.0,
        "gradient_penalty": 0.0,
        "d_reg_interval": 1,
        "n_critic": 1,
        "translation": 0,
        "ema_decay": 0.9,
        "matmul_precision": "highest",
    }
    loaded, noise = GAN.load_from_checkpoint(path), torch.randn(3, 5)
    assert torch.equal(loaded(noise), cli.model.eval()(noise))
    (generator_adam, _), (scheduler,) = loaded.configure_optimizers()
    assert (generator_adam.defaults["lr"], list(generator_adam.defaults["betas"])) == (0.01, [0.5, 0.9])
    assert isinstance(scheduler["scheduler"], StepLR)


@pytest.fixture
def _own_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_classes", dict(registry._classes))


class Reader(nn.Module):
    """A user's own network."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(784, width), nn.Linear(width, 10))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.layers(images)
        return logits


@pytest.mark.usefixtures("_own_table")
def test_a_users_network_is_registered_or_passed_in(plain_trainer: MakeTrainer, tmp_path: Path) -> None:
    module = DigitClassifier(Reader(7))
    path = saved(plain_trainer, module, tmp_path / "some.ckpt")
    with pytest.raises(ValueError, match=r"networks\.register\('Reader', YourClass\) .* or pass the object itself"):
        DigitClassifier.load_from_checkpoint(path)
    images = torch.randn(3, 1, 28, 28)
    expected = module.eval()(images)
    assert torch.equal(DigitClassifier.load_from_checkpoint(path, network=Reader(7))(images), expected)
    networks.register("Reader", Reader)
    assert torch.equal(DigitClassifier.load_from_checkpoint(path)(images), expected)


HOSTILE: list[Any] = [
    {"class_path": "hostile.Network"},
    {"_class_path": "hostile.Network", "_instantiator": "hostile.instantiate"},
    {"name": "hostile.Network", "arguments": {}},
    {"name": "DigitCNN", "arguments": {"x": {"class_path": "hostile.Network"}}},
    {"name": "Adam", "arguments": {}},
    [{"class_path": "hostile.Network"}],
    "hostile.Network",
]


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], bool]:
    """Puts a module `hostile` on the path; tells whether it was imported."""
    marker = tmp_path / "imported"
    (tmp_path / "hostile.py").write_text(f"open({str(marker)!r}, 'w')\n")
    monkeypatch.syspath_prepend(tmp_path)
    return lambda: marker.exists() or "hostile" in sys.modules


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("argument", ["network", "optimizer", "lr_scheduler"])
@pytest.mark.parametrize("value", HOSTILE)
def test_a_hostile_argument_is_refused_and_imports_nothing(
    checkpoint: Callable[..., Path], hostile: Callable[[], bool], argument: str, value: Any
) -> None:
    if argument == "optimizer" and value == {"name": "Adam", "arguments": {}}:
        value = {"name": "StepLR", "arguments": {}}
    module = make_classifier()
    path = checkpoint(module, hyper_parameters={**module.hparams, argument: value})
    with pytest.raises(ValueError, match="the file"):
        DigitClassifier.load_from_checkpoint(path)
    assert not hostile()


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    "hyper_parameters",
    [
        {"class_path": "hostile.Network"},
        {"_class_path": "hostile.Network", "_instantiator": "hostile.instantiate"},
        {**make_lstm().hparams, "_instantiator": "hostile.instantiate"},
        {**make_lstm().hparams, "_class_path": "hostile.Network"},
        {**make_lstm().hparams, "hidden_size": {"class_path": "hostile.Network"}},
        {**make_lstm().hparams, "kernel": ["hostile"]},
        {**make_lstm().hparams, "hidden_size": "many"},
        "hostile.Network",
        None,
    ],
)
def test_hostile_hyper_parameters_are_refused_and_import_nothing(
    checkpoint: Callable[..., Path], hostile: Callable[[], bool], hyper_parameters: Any
) -> None:
    path = checkpoint(make_lstm(), hyper_parameters=hyper_parameters)
    with pytest.raises(ValueError, match=r"is not a checkpoint|doesn't fit"):
        PalindromeLSTM.load_from_checkpoint(path)
    assert not hostile()


def test_weights_of_another_size_are_refused_with_both_sizes(checkpoint: Callable[..., Path]) -> None:
    path = checkpoint(make_lstm())
    with pytest.raises(ValueError, match=r"doesn't fit this PalindromeLSTM: .*\n.*\[32, 10\].*\[64, 10\]"):
        PalindromeLSTM.load_from_checkpoint(path, hidden_size=16)


@pytest.mark.parametrize("other", [GAN, PalindromeRNN, DigitClassifier])
def test_a_checkpoint_of_another_module_is_refused(checkpoint: Callable[..., Path], other: Any) -> None:
    path = checkpoint(make_lstm())
    with pytest.raises(ValueError, match=f"is not a checkpoint of a {other.__name__}"):
        other.load_from_checkpoint(path)


@pytest.mark.parametrize("content", [{}, [1, 2], {"state_dict": {}}, {"state_dict": 3, "hyper_parameters": {}}])
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "some.ckpt")
    with pytest.raises(ValueError, match="is not a checkpoint of a GAN"):
        GAN.load_from_checkpoint(tmp_path / "some.ckpt")
