"""The commands of README.md are run, shortened, in a copy of the checkout."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from documented import PAGES, blocks, commands
from integration.conftest import Twofold

from lightning_modules import PalindromeLSTM
from networks.generator_files import save_generator
from networks.mlp_gan import MLPGenerator

README = PAGES[0]
Typed = Callable[..., str]

FEW = "--trainer.max_steps 2 --trainer.log_every_n_steps 1"
GAN = f"--data.source packaged {FEW}"
RUN = ("config.yaml", "metrics.csv", "timing.csv", "run.json", "checkpoints/last.ckpt", "wandb/offline-run-*/*.wandb")
GAN_RUN = (*RUN, "images/step_000000.png", "interpolation.png", "mnist_generator.pth", "mnist_generator.json")


class Case(NamedTuple):
    """How commands that match `pattern` are shortened, and the files that they write."""

    pattern: str
    shorter: str = ""
    writes: tuple[str, ...] = ()


CASES = [
    Case("make |. .venv|sbatch|twofold fit --help|.*--print_config"),  # tested elsewhere, or in need of SLURM
    Case("twofold fit -c palindrome", FEW, tuple(f"runs/palindrome_*/*/{name}" for name in RUN)),
    Case("twofold fit -c digit", GAN, tuple(f"runs/digit_*/*/{name}" for name in RUN)),
    Case("twofold fit -c runs", "--trainer.max_steps 6", ("runs/gan/*/checkpoints/step=000006.ckpt",)),
    Case("twofold fit -c", GAN, tuple(f"runs/*/*/{name}" for name in GAN_RUN)),
    Case("torchrun", GAN, tuple(f"runs/dcgan/*/{name}" for name in GAN_RUN)),
    Case("twofold runs"),
    Case("twofold test", writes=("runs/palindrome_lstm/*/test.csv",)),
    Case("twofold predict", writes=("runs/gan/*/samples/000063.png",)),
    Case("python -m scripts.plot_gates", writes=("gates.png",)),
    Case("python -m scripts.sample", writes=("samples.png",)),
    Case("python -m scripts.interpolate", writes=("morph.gif",)),
    Case("python -m scripts.export", writes=("digits.onnx",)),
    Case("python -m scripts.sweep", f"{FEW} --trainer.callbacks.every_n_batches 1", ("runs/sweeps/gan/trials.csv",)),
    Case("wandb sync", "--dry-run"),
]


def case(command: str) -> Case:
    """The first case that matches."""
    return next(case for case in CASES if re.match(case.pattern, command))


@pytest.fixture(scope="module")
def trained(twofold: Twofold, digit_painter: MLPGenerator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the runs that later commands read; the generator is replaced by one that draws digits."""
    folder = tmp_path_factory.mktemp("trained")
    for command in (
        "fit -c palindrome_lstm --data.batches_per_epoch 20 --trainer.max_steps 20",
        "fit -c palindrome_rnn --data.batches_per_epoch 20 --trainer.max_steps 20",
        "fit -c gan --data.source packaged --trainer.max_steps 4 --trainer.log_every_n_steps 1",
    ):
        done = twofold(folder, *command.split())
        assert done.returncode == 0, done.stderr
    for network in ("lstm", "rnn"):
        (best,) = folder.glob(f"runs/palindrome_{network}/*/checkpoints/best.ckpt")
        shutil.copy(best, folder / f"{network.upper()}.ckpt")
    (weights,) = folder.glob("runs/gan/*/mnist_generator.pth")
    save_generator(digit_painter, weights, weights="raw", step=4, data_source="packaged")
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
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
@pytest.mark.parametrize("command", [command for command in commands(README) if case(command) is not CASES[0]])
def test_a_command_of_the_readme_works(command: str, reader: Path, typed: Typed, free_port: int) -> None:
    shorter = re.sub(r"--trials \d+", "--trials 1", f"{with_run_id(command, reader)} {case(command).shorter}")
    if command.startswith("torchrun"):  # this machine is both nodes
        node = shorter.replace("HOST", "127.0.0.1").replace("29500", str(free_port))
        shorter = f"{node} & {node.replace('--node-rank 0', '--node-rank 1')} && wait $!"
    before = written(reader)
    typed(shorter)
    changed = {path for path, time in written(reader).items() if time != before.get(path) and path.stat().st_size}
    for pattern in case(command).writes:
        assert changed & set(reader.glob(pattern)), pattern


@pytest.mark.slow
def test_the_python_of_the_readme_works(reader: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (python,) = blocks(README, "python")
    monkeypatch.chdir(reader)
    names: dict[str, Any] = {}
    exec(with_run_id(python.text, reader), names)
    assert isinstance(names["model"], PalindromeLSTM)
    assert isinstance(names["generator"], MLPGenerator)


@pytest.mark.slow
def test_the_tensorboard_logger_of_the_readme_works(checkout: Path, typed: Typed) -> None:
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


def test_every_command_of_the_readme_has_a_case() -> None:
    assert all(any(re.match(each.pattern, command) for each in CASES) for command in commands(README))
