"""Runs on a GPU. They are skipped where there is none, which is everywhere that they have been run so far.

Two cases on the CPU show that the tests themselves work.
"""

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from benchmarks.bitwise_diff import differences
from common.files import read_tensors
from networks.generator_files import load_generator
from scripts.train_runs import read_shipped

Twofold = Callable[..., "subprocess.CompletedProcess[str]"]
CONFIGS = Path(__file__).parents[2] / "configs"
SMALL = "--data.batch_size 8 --trainer.max_steps 4 --checkpoint.every_n_train_steps 2"
GPU, MPS, CPU = (f"--trainer.accelerator {name}" for name in ("gpu", "mps", "cpu"))
BF16, FLOAT16 = f"{GPU} --trainer.precision bf16-mixed", f"{GPU} --trainer.precision 16-mixed"
TWO, COMPILED = f"{GPU} --trainer.devices 2", f"{GPU} --compile true"
NO_WAITS = "--trainer.callbacks+=integration.test_gpu.NoWaits"
UNFUSED = "--model.optimizer.fused false"

needs_cuda = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]
needs_two = [pytest.mark.gpu, pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")]
needs_mps = [pytest.mark.gpu, pytest.mark.skipif(not torch.backends.mps.is_available(), reason="needs an Apple GPU")]

GANS = ["gan", "gan_template", "dcgan", "wgan_gp", "hinge_sn"]
PALINDROMES = ["palindrome_lstm", "palindrome_rnn", "palindrome_recall"]
SEQUENCES = ["induction", "flip_flop", "recall", "parity"]
NETWORKS = [f"--model.network={name} --model.network.hidden_size 16" for name in ("MinGRU", "LRU", "S6", "Transformer")]
CASES: list[tuple[str, str, Any]] = [
    *((name, f"{GPU} {NO_WAITS}", needs_cuda) for name in [*GANS, *PALINDROMES, *SEQUENCES, "digit_classifier"]),
    *((name, BF16, needs_cuda) for name in ("gan", "dcgan", "digit_reader", "palindrome_recall", "flip_flop")),
    *(("induction", f"{BF16} {NO_WAITS} {network}", needs_cuda) for network in NETWORKS),
    *((name, FLOAT16, needs_cuda) for name in ("gan_template", "dcgan", "digit_classifier")),
    *((name, f"{FLOAT16} {UNFUSED}", needs_cuda) for name in ("palindrome_lstm", "recall")),
    *((name, COMPILED, needs_cuda) for name in ("gan_template", "wgan_gp", "recall")),
    *((name, TWO, needs_two) for name in ("palindrome_lstm", "gan_template", "wgan_gp", "recall")),
    *((name, MPS, needs_mps) for name in ("palindrome_lstm", "gan", "induction")),
    ("induction", f"{CPU} {NO_WAITS} {NETWORKS[2]}", pytest.mark.slow),  # S6
]


class NoWaits(Callback):
    """Raises an error where training waits for a CUDA device in a batch that isn't logged."""

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        trained = trainer.global_step + 1
        interval: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
        if pl_module.device.type == "cuda" and trained % interval and trained != trainer.max_steps:
            torch.cuda.set_sync_debug_mode("error")

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        if pl_module.device.type == "cuda":
            torch.cuda.set_sync_debug_mode("default")


def command(experiment: str, options: str) -> list[object]:
    """`fit` of a shipped config with small batches, on packaged digits, without a schedule, which can't be extended."""
    config = read_shipped(experiment)
    schedules = [name for name in config["model"]["init_args"] if name.endswith("lr_scheduler")]
    packaged = ["--data.source=packaged"] if config["data"]["class_path"].endswith("MNISTDataModule") else []
    unscheduled = [f"--model.{name}=null" for name in schedules]
    return ["fit", "-c", CONFIGS / f"{experiment}.yaml", *SMALL.split(), *packaged, *unscheduled, *options.split()]


@pytest.mark.parametrize(("experiment", "options"), [pytest.param(*case, marks=marks) for *case, marks in CASES])
def test_run_is_trained_extended_and_tested(tmp_path: Path, twofold: Twofold, experiment: str, options: str) -> None:
    trained = twofold(tmp_path, *command(experiment, options))
    assert trained.returncode == 0, trained.stderr
    [folder] = (tmp_path / "runs" / experiment).iterdir()
    resume = ("-c", folder / "config.yaml", "--ckpt_path", "last")
    for again in (("fit", "--trainer.max_steps", 6), ("test",)):
        done = twofold(tmp_path, *again, *resume)
        assert done.returncode == 0, done.stderr
    assert json.loads((folder / "run.json").read_text())["state"] == "finished"
    weights = read_tensors(folder / "checkpoints" / "last.ckpt")["state_dict"]
    assert all(tensor.isfinite().all() for tensor in weights.values())
    if (folder / "mnist_generator.pth").exists():
        network = load_generator(folder / "mnist_generator.pth")
        assert network(torch.zeros(2, int(network.latent_dim))).isfinite().all()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("experiment", "options"),
    [
        *(
            pytest.param(name, GPU, marks=needs_cuda)
            for name in ("gan", "dcgan", "palindrome_lstm", "palindrome_recall", "recall")
        ),
        pytest.param("induction", f"{BF16} {NETWORKS[1]}", marks=needs_cuda),
        pytest.param("recall", CPU, marks=pytest.mark.slow),
    ],
)
def test_deterministic_run_is_resumed_to_the_same_bits(
    tmp_path: Path, twofold: Twofold, experiment: str, options: str
) -> None:
    killer = "--trainer.deterministic true --trainer.callbacks+=killer.Killer"
    folders: list[Path] = []
    for name, moment in (("undisturbed", ""), ("killed", "step 3")):
        run = tmp_path / name
        run.mkdir()
        done = twofold(run, *command(experiment, f"{options} {killer}"), KILL=moment)
        assert done.returncode == (-signal.SIGKILL if moment else 0), done.stderr
        folders += (run / "runs" / experiment).iterdir()
    undisturbed, killed = folders
    resumed = twofold(tmp_path / "killed", "fit", "-c", killed / "config.yaml", "--ckpt_path", "last")
    assert resumed.returncode == 0, resumed.stderr
    assert differences(undisturbed, killed) == []
