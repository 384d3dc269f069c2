"""README's commands run, shortened, in a copy of the checkout."""

import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from documented import PAGES, blocks, commands
from integration.conftest import TESTS, Twofold
from pictures import write_pictures

from lightning_modules import PalindromeLSTM
from networks.generator_files import save_generator
from networks.mlp_gan import MLPGenerator

README = PAGES[0]
Typed = Callable[..., str]

FEW = "--trainer.max_steps 2 --trainer.log_every_n_steps 1"
GAN = f"--data.source packaged {FEW}"
RUN = ("config.yaml", "metrics.csv", "timing.csv", "run.json", "checkpoints/last.ckpt", "wandb/offline-run-*/*.wandb")
GAN_RUN = (*RUN, "images/step_000000.png", "interpolation.png", "mnist_generator.pth", "mnist_generator.json")


SKIPPED = "make |. .venv|sbatch|twofold fit --help|.*--print_config"
"""These commands are tested elsewhere, or need SLURM."""
CASES = {
    "twofold fit -c palindrome": (FEW, *(f"runs/palindrome_*/*/{name}" for name in RUN)),
    "twofold fit -c flip_flop": (FEW, *(f"runs/flip_flop/*/{name}" for name in RUN)),
    "twofold fit -c gan_folder": (FEW, *(f"runs/gan_folder/*/{name}" for name in GAN_RUN)),
    "twofold fit -c digit": (GAN, *(f"runs/digit_*/*/{name}" for name in RUN)),
    "twofold fit -c runs": ("", "runs/gan/*/checkpoints/step=000006.ckpt", "runs/gan/*/interpolation.png"),
    "twofold fit -c": (GAN, *(f"runs/*/*/{name}" for name in GAN_RUN)),
    "torchrun": (GAN, *(f"runs/dcgan/*/{name}" for name in GAN_RUN)),
    "twofold runs": ("",),
    "twofold test": ("", "runs/palindrome_lstm/*/test.csv"),
    "twofold predict": ("", "runs/gan/*/samples/000063.png"),
    "python -m scripts.plot_gates": ("", "gates.png"),
    "python -m scripts.sample": ("", "samples.png"),
    "python -m scripts.interpolate": ("", "morph.gif"),
    "python -m scripts.export": ("", "digits.onnx"),
    "python -m scripts.sweep": (f"{FEW} --trainer.callbacks.every_n_batches 1", "runs/sweeps/gan/trials.csv"),
    "wandb sync": ("--dry-run",),
}
"""By the start of a command: how it is shortened, and the files that it writes."""


@pytest.fixture(scope="module")
def trained(twofold: Twofold, digit_painter: MLPGenerator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the runs that later commands read: two finished networks and an interrupted GAN."""
    folder = tmp_path_factory.mktemp("trained")
    shutil.copy(TESTS / "killer.py", folder)
    for network in ("lstm", "rnn"):
        command = f"fit -c palindrome_{network} --data.batches_per_epoch 20 --trainer.max_steps 20"
        assert twofold(folder, *command.split()).returncode == 0
        (best,) = folder.glob(f"runs/palindrome_{network}/*/checkpoints/best.ckpt")
        shutil.copy(best, folder / f"{network.upper()}.ckpt")
    command = f"fit -c gan {GAN} --trainer.max_steps 6 --checkpoint.every_n_train_steps 2"
    killed = twofold(folder, *command.split(), "--trainer.callbacks+=killer.Killer", KILL="step 5")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    (gan,) = folder.glob("runs/gan/*")
    save_generator(digit_painter, gan / "mnist_generator.pth", weights="raw", step=4, data_source="packaged")
    return folder


@pytest.fixture
def reader(trained: Path, checkout: Path) -> Path:
    """A copy of the checkout with the trained runs."""
    shutil.copytree(trained, checkout, symlinks=True, dirs_exist_ok=True)
    return checkout


def with_run_id(text: str, folder: Path) -> str:
    """Replaces RUN by the id of the only run of an experiment."""
    return re.sub(r"(runs/\w+)/RUN", lambda at: "{}/{.name}".format(at[1], *(folder / at[1]).iterdir()), text)


def written(folder: Path) -> dict[Path, int]:
    """The files that aren't empty, and when they were written."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file() and path.stat().st_size}


@pytest.mark.slow
@pytest.mark.parametrize("command", [command for command in commands(README) if not re.match(SKIPPED, command)])
def test_readme_command_works(command: str, reader: Path, typed: Typed, free_port: int) -> None:
    options, *files = next(case for start, case in CASES.items() if command.startswith(start))
    shorter = re.sub(r"--trials \d+", "--trials 1", f"{with_run_id(command, reader)} {options}")
    if "FOLDER" in command:
        shorter = shorter.replace("FOLDER", str(write_pictures(reader / "pictures", each=40)))
    if command.startswith("torchrun"):  # this machine is both nodes
        node = shorter.replace("HOST", "127.0.0.1").replace("29500", str(free_port))
        shorter = f"{node} & {node.replace('--node-rank 0', '--node-rank 1')} && wait $!"
    before = written(reader)
    typed(shorter)
    changed = {path for path, _ in written(reader).items() - before.items()}
    for pattern in files:
        assert changed & set(reader.glob(pattern)), pattern


@pytest.mark.slow
def test_readme_python_works(reader: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (python,) = blocks(README, "python")
    monkeypatch.chdir(reader)
    names: dict[str, Any] = {}
    exec(with_run_id(python.text, reader), names)
    assert isinstance(names["model"], PalindromeLSTM)
    assert isinstance(names["generator"], MLPGenerator)


@pytest.mark.slow
def test_readme_tensorboard_logger_works(checkout: Path, typed: Typed) -> None:
    (logger,) = blocks(README, "yaml")
    (checkout / "board.yaml").write_text(logger.text)
    typed(f"twofold fit -c palindrome_lstm -c board.yaml {FEW}")
    (events,) = checkout.glob("board/**/events.out.tfevents.*")
    assert b"train/loss" in events.read_bytes()


def test_make_passes_its_variables(typed: Typed) -> None:
    def last_line(command: str) -> str:
        return " ".join(typed(f"{command} --dry-run VENV=new").splitlines()[-1].split())

    report, explore = "new/bin/python -m scripts.report", "new/bin/python -m scripts.explore"
    assert last_line("make report FULL=1 DATA='my data'") == f'{report} --full --root "my data"'
    assert last_line("make explore RUNS='my runs' PORT=8000") == f'{explore} "my runs" --port 8000'
