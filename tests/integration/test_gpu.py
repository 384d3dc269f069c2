"""Whole runs on a GPU, by the real command. Skipped where there is none, as everywhere that we have run them so far."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from common.files import read_tensors
from networks.generator_files import load_generator

Twofold = Callable[..., "subprocess.CompletedProcess[str]"]
CONFIGS = Path(__file__).parents[2] / "configs"
PALINDROMES = ["--data.batch_size", "8", "--trainer.max_steps", "4", "--checkpoint.every_n_train_steps", "2"]
SMALL = ["--data.source", "packaged", *PALINDROMES]

pytestmark = pytest.mark.gpu
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
needs_two = pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
needs_mps = pytest.mark.skipif(not torch.backends.mps.is_available(), reason="needs an Apple GPU")


def trains_goes_on_and_is_judged(twofold: Twofold, cwd: Path, config: str, *options: str) -> Path:
    """A run of 4 batches that is made longer by 2 and tested; its folder."""
    small = PALINDROMES if config.startswith("palindrome") else SMALL
    trained = twofold(cwd, "fit", "-c", CONFIGS / f"{config}.yaml", *small, *options)
    assert trained.returncode == 0, trained.stderr
    [folder] = (cwd / "runs" / config).iterdir()
    going_on = ("-c", folder / "config.yaml", "--ckpt_path", "last")
    longer = twofold(cwd, "fit", *going_on, "--trainer.max_steps", 6)
    assert longer.returncode == 0, longer.stderr
    evaluated = twofold(cwd, "test", *going_on)
    assert evaluated.returncode == 0, evaluated.stderr
    assert json.loads((folder / "run.json").read_text())["state"] == "finished"
    weights = read_tensors(folder / "checkpoints" / "last.ckpt")["state_dict"]
    assert all(tensor.isfinite().all() for tensor in weights.values())
    return folder


@needs_cuda
@pytest.mark.parametrize(
    ("config", "precision"),
    [
        *((config, "32-true") for config in ("gan_template", "gan", "dcgan", "digit_classifier")),
        *((config, "bf16-mixed") for config in ("gan_template", "gan", "dcgan", "digit_classifier")),
        *((config, "16-mixed") for config in ("gan_template", "dcgan", "digit_classifier")),  # which have no penalties
    ],
)
def test_in_every_precision(tmp_path: Path, twofold: Twofold, config: str, precision: str) -> None:
    on_gpu = ("--trainer.accelerator", "gpu", "--trainer.precision", precision)
    folder = trains_goes_on_and_is_judged(twofold, tmp_path, config, *on_gpu)
    if config != "digit_classifier":  # a generator made there makes images here
        network = load_generator(folder / "mnist_generator.pth")
        assert network(torch.zeros(2, int(network.latent_dim))).isfinite().all()  # type: ignore[arg-type]


@needs_cuda
@pytest.mark.parametrize("config", ["palindrome_lstm", "palindrome_rnn", "palindrome_recall"])
def test_the_memories(tmp_path: Path, twofold: Twofold, config: str) -> None:
    trains_goes_on_and_is_judged(twofold, tmp_path, config, "--trainer.accelerator", "gpu")


@needs_cuda
@pytest.mark.parametrize("config", ["gan_template", "wgan_gp"])
def test_compiled(tmp_path: Path, twofold: Twofold, config: str) -> None:
    trains_goes_on_and_is_judged(twofold, tmp_path, config, "--trainer.accelerator", "gpu", "--compile", "true")


@needs_two
@pytest.mark.parametrize("config", ["palindrome_lstm", "gan_template", "wgan_gp"])
def test_on_two(tmp_path: Path, twofold: Twofold, config: str) -> None:
    trains_goes_on_and_is_judged(twofold, tmp_path, config, "--trainer.accelerator", "gpu", "--trainer.devices", "2")


@needs_mps
@pytest.mark.parametrize("config", ["palindrome_lstm", "gan"])
def test_on_an_apple_gpu(tmp_path: Path, twofold: Twofold, config: str) -> None:
    trains_goes_on_and_is_judged(twofold, tmp_path, config, "--trainer.accelerator", "mps")
