"""Runs on a GPU. They are skipped where there is none, which is everywhere that they have been run so far."""

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
SMALL = "--data.batch_size 8 --trainer.max_steps 4 --checkpoint.every_n_train_steps 2"
CUDA, MPS = "--trainer.accelerator gpu", "--trainer.accelerator mps"
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
needs_two = pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
needs_mps = pytest.mark.skipif(not torch.backends.mps.is_available(), reason="needs an Apple GPU")
WITHOUT_PENALTY = ["gan_template", "dcgan", "digit_classifier"]
CASES = [
    *((name, f"{CUDA} --trainer.precision 32-true", needs_cuda) for name in ["gan", *WITHOUT_PENALTY]),
    *((name, f"{CUDA} --trainer.precision bf16-mixed", needs_cuda) for name in ["gan", *WITHOUT_PENALTY]),
    *((name, f"{CUDA} --trainer.precision 16-mixed", needs_cuda) for name in WITHOUT_PENALTY),
    *((name, CUDA, needs_cuda) for name in ("palindrome_lstm", "palindrome_rnn", "palindrome_recall")),
    ("palindrome_recall", f"{CUDA} --trainer.precision bf16-mixed --trainer.deterministic true", needs_cuda),
    *((name, f"{CUDA} --compile true", needs_cuda) for name in ("gan_template", "wgan_gp")),
    *((name, f"{CUDA} --trainer.devices 2", needs_two) for name in ("palindrome_lstm", "gan_template", "wgan_gp")),
    *((name, MPS, needs_mps) for name in ("palindrome_lstm", "gan")),
]


@pytest.mark.gpu
@pytest.mark.parametrize(("experiment", "options"), [pytest.param(*case, marks=mark) for *case, mark in CASES])
def test_run_is_trained_extended_and_tested(tmp_path: Path, twofold: Twofold, experiment: str, options: str) -> None:
    packaged = () if experiment.startswith("palindrome") else ("--data.source", "packaged")
    # A schedule that ends with the run could not be extended.
    unscheduled = ["--model.generator_lr_scheduler", "null", "--model.discriminator_lr_scheduler", "null"]
    small = (*SMALL.split(), *packaged, *(unscheduled if experiment == "gan" else ()))
    trained = twofold(tmp_path, "fit", "-c", CONFIGS / f"{experiment}.yaml", *small, *options.split())
    assert trained.returncode == 0, trained.stderr
    [folder] = (tmp_path / "runs" / experiment).iterdir()
    resume = ("-c", folder / "config.yaml", "--ckpt_path", "last")
    for command in (("fit", "--trainer.max_steps", 6), ("test",)):
        done = twofold(tmp_path, *command, *resume)
        assert done.returncode == 0, done.stderr
    assert json.loads((folder / "run.json").read_text())["state"] == "finished"
    weights = read_tensors(folder / "checkpoints" / "last.ckpt")["state_dict"]
    assert all(tensor.isfinite().all() for tensor in weights.values())
    if (folder / "mnist_generator.pth").exists():
        network = load_generator(folder / "mnist_generator.pth")
        assert network(torch.zeros(2, int(network.latent_dim))).isfinite().all()  # type: ignore[arg-type]
