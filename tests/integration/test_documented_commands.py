"""Each command of the README and the pages is run, shortened, in a copy of the checkout, and leaves what it promises.

Those that can't be run here are listed in `documented.NEEDS`. What `docs/add_a_*.md` say is done by test_adding.py.
"""

import csv
import json
import re
import shlex
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import onnx
import pytest
import yaml
from documented import ALL_COMMANDS, MENTIONED, NEEDS, ROOT, blocks, need
from integration.conftest import Twofold, found
from PIL import Image
from safetensors.torch import load_file

from common.files import read_tensors
from lightning_modules import PalindromeLSTM
from networks.generator_files import load_generator, save_generator
from networks.mlp_gan import MLPGenerator

README = ROOT / "README.md"
Typed = Callable[..., str]

FEW = "--trainer.max_steps 2 --trainer.log_every_n_steps 1"
DIGITS = "--data.source packaged"
STRIP = "callbacks.InterpolationStrip"
TRIALS = f"{FEW} --trainer.callbacks.every_n_batches 1"
RUN = (
    "runs/*/*/config.yaml",
    "runs/*/*/metrics.csv",
    "runs/*/*/timing.csv",
    "runs/*/*/run.json",
    "runs/*/*/checkpoints/last.ckpt",
    "runs/*/*/wandb/offline-run-*/run-*.wandb",
)
GAME = (
    *RUN,
    "runs/*/*/images/step_000000.png",
    "runs/*/*/interpolation.png",
    "runs/*/*/mnist_generator.pth",
    "runs/*/*/mnist_generator.json",
    "runs/*/*/quality.json",
)
SWEEP = (
    "runs/sweeps/gan.db",
    "runs/sweeps/gan.csv",
    "runs/sweeps/gan.png",
    "runs/sweeps/gan/trial_0000/*/*/config.yaml",
)


class Kind(NamedTuple):
    """Commands that are tried alike.

    Attributes:
        begins: how they do, a regular expression.
        shorter: what is typed behind them, so that they take seconds.
        leaves: the files that they write.
        says: what they print, a regular expression.
        slow: left to `make test-all`.
    """

    begins: str
    shorter: str = ""
    leaves: tuple[str, ...] = ()
    says: str = ""
    slow: bool = False


KINDS = [
    Kind("twofold fit .*--print_config", says=r"class_path: lightning_modules\.GAN", slow=True),
    Kind("twofold fit .*--trainer.fast_dev_run true", DIGITS, says="fit .* 1/1", slow=True),
    Kind("twofold fit .*configs/palindrome", FEW, RUN, "results in runs/palindrome", slow=True),
    Kind("twofold fit .*configs/digit_classifier", f"{DIGITS} {FEW}", RUN, "results in runs/digit_class", slow=True),
    Kind("twofold fit .*configs/(gan|dcgan)", f"{DIGITS} {FEW}", GAME, "results in runs/.*gan", slow=True),
    Kind("twofold runs", says=r"runs/gan/(\S+) +4  finished  twofold fit -c runs/gan/\1/config.yaml --ckpt_path last"),
    Kind(
        "twofold fit -c runs/gan/RUN",
        "--trainer.max_steps 6",
        ("runs/gan/*/checkpoints/step=000006.ckpt",),
        "results in",
        slow=True,
    ),
    Kind("twofold test", leaves=("runs/palindrome_lstm/*/test.csv",), slow=True),
    Kind("twofold predict", leaves=("runs/gan/*/samples/000000.png", "runs/gan/*/samples/000063.png"), slow=True),
    Kind("python -m scripts.plot_gates", leaves=("gates.png",), says="gates.png"),
    Kind("python -m scripts.interpolate", leaves=("morph.gif",), says="morph.gif", slow=True),
    Kind("python -m scripts.sample", leaves=("samples.png",), says="samples.png"),
    Kind("python -m scripts.export", leaves=("digits.onnx", "digits.safetensors"), says="digits.onnx", slow=True),
    Kind("wandb sync", "--dry-run", says=r"Would sync 1 run\(s\)"),
    Kind("wandb leet inspect", says="train/d_loss"),
    Kind("python -m scripts.sweep .* -- ", TRIALS, SWEEP, "best is", slow=True),
    Kind("python -m scripts.sweep ", f"-- {DIGITS} {TRIALS}", SWEEP, "best is", slow=True),
    Kind(
        "python -m benchmarks.gan fixes",
        "--source packaged --batches 40",
        ("benchmarks/results/gan_fixes.csv", "docs/pictures/gan_textbook.png", "docs/pictures/gan_mlp_conv.png"),
        "fix textbook",
        slow=True,
    ),
    Kind("torchrun", f"{DIGITS} {FEW}", GAME, "results in runs/dcgan", slow=True),
    Kind("python -m pytest", "--collect-only -q", says=r"\d+ tests collected"),
]
"""The first that fits."""

COLUMNS = {"LearningRateMonitor": "lr-Adam", "LengthCurriculum": "train/length"}
"""What callbacks log that a command adds."""


MADE = {f"make {target}" for target in re.findall("^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)}


def kind(command: str) -> Kind | None:
    return next((kind for kind in KINDS if re.match(kind.begins, command)), None)


def test_every_command_is_run_or_listed_and_nothing_else_is() -> None:
    commands = [command for _, command in ALL_COMMANDS]
    unknown = [command for command in commands if not (need(command) or kind(command) or command in MADE)]
    assert not unknown, "see KINDS and documented.NEEDS"
    assert {need(command) for command in commands} == {None, *NEEDS}
    assert {kind(command) for command in commands} == {None, *KINDS}
    assert all(any(name in command for command in commands) for name in COLUMNS)


@pytest.fixture(scope="module")
def trained(twofold: Twofold, digit_painter: MLPGenerator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what those have who got as far as to the commands that read a run; the game's end is made up."""
    folder = tmp_path_factory.mktemp("trained")
    for options in (
        "palindrome_lstm.yaml --data.batches_per_epoch 20 --trainer.max_steps 20",
        "palindrome_rnn.yaml --data.batches_per_epoch 20 --trainer.max_steps 20",
        f"gan.yaml {DIGITS} --trainer.max_steps 4 --trainer.log_every_n_steps 1 --trainer.callbacks {STRIP}",
    ):
        done = twofold(folder, *shlex.split(f"fit -c {ROOT}/configs/{options}"))
        assert done.returncode == 0, done.stderr
    for network in ("lstm", "rnn"):
        (best,) = folder.glob(f"runs/palindrome_{network}/*/checkpoints/best.ckpt")
        shutil.copy(best, folder / f"{network.upper()}.ckpt")
    (weights,) = folder.glob("runs/gan/*/mnist_generator.pth")
    save_generator(digit_painter, weights, weights="raw", step=4, data_source="packaged")
    return folder


@pytest.fixture
def reader(trained: Path, checkout: Path) -> Path:
    """A copy of the checkout and of what was trained in it."""
    shutil.copytree(trained, checkout, symlinks=True, dirs_exist_ok=True)
    return checkout


RUN_HERE = {
    command: known
    for _, command in ALL_COMMANDS
    if need(command) is None and command not in MADE and (known := kind(command))
}


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(command, id=command[:60], marks=[pytest.mark.slow] if known.slow else [])
        for command, known in RUN_HERE.items()
    ],
)
def test_a_command_leaves_what_it_promises(command: str, reader: Path, typed: Typed, free_port: int) -> None:
    known = RUN_HERE[command]
    short = shortened(command, known, reader, free_port)
    before = written(reader)
    said = typed(short)
    assert re.search(known.says, said), said
    changed = {path for path, time in written(reader).items() if time != before.get(path)}
    for pattern in known.leaves:
        (path,) = changed & set(reader.glob(pattern))
        assert_sound(path)
    for config in changed & set(reader.glob("runs/*/*/config.yaml")):
        assert_taken(short, config)


def shortened(command: str, known: Kind, folder: Path, port: int) -> str:
    """With the run that there is, one trial, and this machine as both of two."""
    command = re.sub(r"--trials \d+", "--trials 1", f"{with_runs(command, folder)} {known.shorter}")
    if not command.startswith("torchrun"):
        return command
    first = command.replace("HOST", "127.0.0.1").replace("29500", str(port))
    return f"{first} & {first.replace('--node-rank 0', '--node-rank 1')} && wait $!"


def with_runs(text: str, folder: Path) -> str:
    """With the id of the only run of an experiment in place of RUN."""
    return re.sub(r"(runs/\w+)/RUN", lambda at: "{}/{.name}".format(at[1], *(folder / at[1]).iterdir()), text)


def written(folder: Path) -> dict[Path, int]:
    """When each file was."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def assert_sound(path: Path) -> None:
    match path.suffix:
        case ".png" | ".gif":
            with Image.open(path) as picture:
                picture.load()
        case ".csv":
            assert rows(path)
        case ".json":
            assert json.loads(path.read_text())
        case ".ckpt":
            assert read_tensors(path)["state_dict"]
        case ".pth":
            load_generator(path)
        case ".safetensors":
            assert load_file(path)
        case ".onnx":
            onnx.checker.check_model(path)
        case _:
            assert path.stat().st_size > 0


def assert_taken(command: str, config: Path) -> None:
    """A run was made with the settings of its command, and its callbacks logged."""
    text = config.read_text()
    kept = yaml.safe_load(text)
    words = shlex.split(command.partition(" -c ")[2].partition(" & ")[0])
    settings = {name.removeprefix("--"): value for name, value in pairwise(words) if re.match(r"--[\w.]+$", name)}
    settings.pop("ckpt_path", None)
    for name, value in settings.items():
        taken, given = found(kept, name.split(".")), yaml.safe_load(value)
        assert taken == given or str(taken) == str(given), name
    added = {word.split("callbacks+=")[1].split(".")[-1] for word in words if "callbacks+=" in word}
    assert all(re.search(rf"class_path: \S*\b{name}$", text, re.MULTILINE) for name in added)
    columns = rows(config.with_name("metrics.csv"))[-1].keys()
    assert {COLUMNS[name] for name in added & COLUMNS.keys()} <= columns


def rows(table: Path) -> list[dict[str, str]]:
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


def assert_run_by_some_test(module: str) -> None:
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    folder, name = module.split(".")
    assert re.search(rf"from {folder} import (\([^)]*|.*)\b{name}\b|{folder}[./]{name}\b", tests), module


def test_what_a_page_mentions_is_run_elsewhere() -> None:
    for command in MENTIONED:
        match shlex.split(command):
            case ["python", "-m", "pytest", *_]:
                pass  # what runs this
            case ["python", "-m", module, *_]:
                assert_run_by_some_test(module)
            case ["make", target, *_]:
                assert f"make {target}" in MADE


def test_make_hands_on_what_is_typed(typed: Typed) -> None:
    def last_line(command: str) -> str:
        return " ".join(typed(f"{command} --dry-run VENV=anew").splitlines()[-1].split())

    report, explore = "anew/bin/python -m scripts.report", "anew/bin/python -m scripts.explore"
    assert last_line("make report FULL=1 DATA='my data'") == f'{report} --full --root "my data"'
    assert last_line("make report FULL=0") == report
    assert last_line("make explore RUNS='my runs' PORT=8000") == f'{explore} "my runs" --port 8000'
    bench = typed("make bench --dry-run VENV=anew DATA=d PEER='a checkout'")
    assert '-m benchmarks.speed --peer "a checkout" --root "d"\n' in bench


def test_what_make_runs_is_run_elsewhere(typed: Typed) -> None:
    for line in "".join(typed(f"{command} --dry-run VENV=anew") for command in MADE).splitlines():
        match shlex.split(line):
            case ["anew/bin/python", "-m", "pip", "install", *_] | ["python3", *_] | ["touch" | "grep", *_]:
                pass  # what takes a package index, and what prints the targets
            case ["anew/bin/python", "-m", "pytest", *_] | ["anew/bin/ruff" | "anew/bin/mypy", *_]:
                pass  # what runs this
            case ["anew/bin/python", "-m", module, *_]:
                assert_run_by_some_test(module)
            case _:
                pytest.fail(f"make runs `{line}`, which no test does")


def test_the_python_of_the_readme_loads_a_network_and_a_generator(
    reader: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (python,) = blocks(README, "python")
    monkeypatch.chdir(reader)
    names: dict[str, Any] = {}
    exec(with_runs(python, reader), names)
    assert isinstance(names["model"], PalindromeLSTM)
    assert isinstance(names["generator"], MLPGenerator)


@pytest.mark.slow
def test_the_yaml_of_the_readme_logs_to_tensorboard(checkout: Path, typed: Typed) -> None:
    (logger,) = blocks(README, "yaml")
    (checkout / "board.yaml").write_text(logger)
    typed(f"twofold fit -c configs/palindrome_lstm.yaml -c board.yaml {FEW}")
    (events,) = checkout.glob("board/**/events.out.tfevents.*")
    assert b"train/loss" in events.read_bytes()
    assert not list(checkout.rglob("wandb"))
