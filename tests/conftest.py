"""Fixtures. While tests run, the shapes in signatures are checked, such as `Float[Tensor, "batch 1 28 28"]`."""

import os
import socket
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from jaxtyping import config, install_import_hook

# Before any test file imports them.
PACKAGES = ["common", "networks", "losses", "metrics", "lightning_modules", "datamodules", "callbacks"]
install_import_hook(PACKAGES, "shape_checks.checked")

import torch  # noqa: E402
import wandb  # noqa: E402
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer  # noqa: E402
from torch import nn  # noqa: E402

from datamodules import MNISTDataModule  # noqa: E402
from metrics.features import load_classifier  # noqa: E402
from networks.classifiers import DigitReader  # noqa: E402
from networks.generator_files import save_generator  # noqa: E402
from networks.mlp_gan import MLPGenerator  # noqa: E402
from twofold.main import main  # noqa: E402

# Two threads on a busy machine wait for each other: a test of 7 s once took 130.
torch.set_num_threads(1)
# A busy machine makes no test fail.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

Command = Callable[..., tuple[int, str, str]]
Script = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def _as_new() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)  # benchmarks change these, and with them the bits
    torch.set_float32_matmul_precision("highest")
    torch.set_flush_denormal(False)


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Switches the checks of shapes off, to test our own error messages for wrong shapes."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)


@pytest.fixture
def plain_trainer(tmp_path: Path) -> Callable[..., Trainer]:
    """Makes a Trainer on the CPU without our CLI, as in a notebook."""

    def make(max_steps: int = 3, **arguments: Any) -> Trainer:
        quiet = {"enable_progress_bar": False, "enable_model_summary": False, "num_sanity_val_steps": 0}
        defaults = {"accelerator": "cpu", "logger": False, "enable_checkpointing": False, "default_root_dir": tmp_path}
        return Trainer(max_steps=max_steps, **{**quiet, **defaults, **arguments})

    return make


@pytest.fixture
def save_checkpoint(plain_trainer: Callable[..., Trainer]) -> Callable[[LightningModule, Path], None]:
    """`save_checkpoint(module, path)` saves a module that wasn't trained as a plain Trainer does."""

    def save(module: LightningModule, path: Path) -> None:
        trainer = plain_trainer()
        trainer.strategy.connect(module)
        module.trainer = trainer
        trainer.save_checkpoint(path)

    return save


@pytest.fixture
def save_trained(plain_trainer: Callable[..., Trainer]) -> Callable[[LightningModule, LightningDataModule, Path], None]:
    """`save_trained(module, data, path)` trains a module for a step and saves it; the file names its data."""

    def save(module: LightningModule, data: LightningDataModule, path: Path) -> None:
        trainer = plain_trainer(max_steps=1, limit_val_batches=0)
        trainer.fit(module, datamodule=data)
        trainer.save_checkpoint(path)

    return save


@pytest.fixture
def free_port() -> int:
    """A port of this machine that is not in use."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def no_download(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes downloads of MNIST fail, as without a network."""

    def refuse(root: Path, dataset: str) -> None:
        raise ValueError(f"can't download MNIST to {root}")

    monkeypatch.setattr("datamodules.mnist.datamodule.download_dataset", refuse)


@pytest.fixture
def digits() -> MNISTDataModule:
    """The packaged digits in small batches."""
    return MNISTDataModule(source="packaged", batch_size=8)


@pytest.fixture
def run_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sets the seed of plain Trainers' runs."""
    monkeypatch.setenv("PL_GLOBAL_SEED", "3")


@pytest.fixture
def fit(plain_trainer: Callable[..., Trainer], digits: MNISTDataModule, run_seed: None) -> Callable[..., Trainer]:
    """`fit(module, *callbacks, max_steps=…)` trains on `digits` with seed 3 in a plain Trainer, which it returns."""

    def fit(module: LightningModule, *callbacks: Callback, ckpt_path: Path | None = None, **arguments: Any) -> Trainer:
        trainer = plain_trainer(callbacks=[*callbacks], **arguments)
        trainer.fit(module, datamodule=digits, ckpt_path=ckpt_path, weights_only=True)
        return trainer

    return fit


@pytest.fixture
def tiny_classifier(monkeypatch: pytest.MonkeyPatch) -> DigitReader:
    """A tiny untrained classifier, by which `GenerativeMetrics` evaluates."""
    tiny = DigitReader(hidden_size=4).eval()
    monkeypatch.setattr("callbacks.generative_metrics.load_classifier", lambda name: tiny)
    return tiny


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Script:
    """`script(main, "--option", …)` runs the `main` of a script in a new folder; returns exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delenv("TWOFOLD_DEBUG", raising=False)

    def run(main: Callable[[list[str]], int], *arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def in_process(script: Script, monkeypatch: pytest.MonkeyPatch) -> Command:
    """`in_process("fit -c", …)` runs the command in a new folder; returns exit code, stdout and stderr."""
    monkeypatch.delenv("TWOFOLD_RUNS", raising=False)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    for name in ("PL_GLOBAL_SEED", "PL_SEED_WORKERS"):  # which the command sets
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return lambda command="", *arguments: script(main, *command.split(), *arguments)


@pytest.fixture
def twofold(in_process: Command) -> Command:
    """`in_process`; tests in `integration/` start a process instead."""
    return in_process


@pytest.fixture
def refuses(script: Script, tmp_path: Path) -> Callable[..., None]:
    """`refuses(main, [("options of a script", "words of its error"), …])`: each gets one line and exit code 2."""

    def check(main: Callable[[list[str]], int], mistakes: Iterable[tuple[str, str]]) -> None:
        before = sorted(tmp_path.rglob("*"))
        for arguments, words in mistakes:
            code, out, err = script(main, *arguments.split())
            assert (code, out, err.count("\n")) == (2, "", 1), arguments
            assert words in err
            assert sorted(tmp_path.rglob("*")) == before, arguments

    return check


@pytest.fixture(scope="session")
def digit_painter() -> MLPGenerator:
    """A generator that needs no training: digit d lies at 36·d degrees in the noise, a bit farther than 1 from 0."""
    data = MNISTDataModule(source="packaged", batch_size=500)
    data.prepare_data()
    data.setup("validate")
    ((images, _), *_) = data.val_dataloader()
    clearest = load_classifier()(images).log_softmax(dim=1).argmax(dim=0)  # one image of each digit
    painted = images[clearest].flatten(1)  # (10, 784)
    angles = torch.arange(10) * torch.pi / 5
    towards = torch.stack([angles.cos(), angles.sin()], dim=1)
    first, last = nn.Linear(2, 20), nn.Linear(20, 784)
    with torch.no_grad():  # LeakyReLU(x) + 0.2 LeakyReLU(−x) is 0 for x below 0
        first.weight.copy_(20 * torch.cat([towards, -towards]))
        first.bias.copy_(20 * torch.tensor([-1.0, 1.0]).repeat_interleave(10))
        last.weight.copy_(4 * torch.cat([painted + 1, 0.2 * (painted + 1)]).T)
        last.bias.fill_(-4)
    generator = MLPGenerator(latent_dim=2, widths=[20], normalisation="none")
    weights = {"layers.0": first, "layers.2": last}
    generator.load_state_dict(
        {f"{at}.{name}": w for at, layer in weights.items() for name, w in layer.state_dict().items()}
    )
    return generator.eval()


@pytest.fixture
def painter_file(digit_painter: MLPGenerator, tmp_path: Path) -> Path:
    """The digit painter as a generator file."""
    path = tmp_path / "mnist_generator.pth"
    save_generator(digit_painter, path, weights="raw", step=1500, data_source="packaged")
    return path


@pytest.fixture
def without_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """W&B without settings and without an account."""
    wandb.teardown()  # it remembers its settings
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    yield
    wandb.teardown()
