"""The command line as a newcomer meets it: every mistake gets one line, and Lightning's own switches work."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import LightningModule
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.profilers import Profiler, SimpleProfiler
from torch import nn

from datamodules.palindromes.worst_cases import CASES
from networks.registry import NETWORKS
from scripts.arguments import file_name
from twofold.errors import OneLineParser
from twofold.hooks import Unprofiled
from twofold.main import PACKAGES
from twofold.tables import read_rows

CONFIGS = Path(__file__).parents[1] / "configs"
LSTM, GAN, RNN = (str(CONFIGS / f"{name}.yaml") for name in ("palindrome_lstm", "gan", "palindrome_rnn"))
Twofold = Callable[..., tuple[int, str, str]]


def fitted(twofold: Twofold, *arguments: object) -> Path:
    """The folder of a short run."""
    steps = () if "--trainer.max_steps" in arguments else ("--trainer.max_steps", 4)
    code, said, complained = twofold("fit", "-c", LSTM, *steps, *arguments)
    assert (code, complained) == (0, "")
    folder = Path(said.splitlines()[-1].removeprefix("results in "))
    assert (folder / "config.yaml").is_file()
    return folder


def test_a_run_that_fails_says_so_in_one_line(twofold: Twofold, tmp_path: Path) -> None:
    options = ("--checkpoint.monitor", "nothing", "--data.batches_per_epoch", 2, "--trainer.max_steps", 3)
    code, _, complained = twofold("fit", "-c", LSTM, *options)
    assert code == 1
    assert complained.count("\n") == 1
    assert complained.startswith("twofold: the run failed: checkpoint.monitor is 'nothing'")
    _, listed, _ = twofold("runs")
    assert " failed " in listed


def test_debugging_shows_the_traceback(twofold: Twofold, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWOFOLD_DEBUG", "1")
    with pytest.raises(Exception, match="not a command"):
        twofold("frobnicate")


@pytest.mark.parametrize("options", [f"{LSTM} --trainer.fast_dev_run 3", f"{GAN} --trainer.fast_dev_run true"])
def test_fast_dev_run_leaves_nothing(twofold: Twofold, tmp_path: Path, options: str) -> None:
    packaged = "--data.source packaged" if GAN in options else ""
    assert twofold(f"fit -c {options} {packaged}")[::2] == (0, "")
    assert not list(tmp_path.iterdir())


@pytest.fixture
def trainers(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The trainers of finished runs."""
    used: list[Any] = []
    monkeypatch.setattr(LightningModule, "on_fit_end", lambda module: used.append(module.trainer))
    return used


@pytest.mark.parametrize(("asked", "profiler"), [((), Unprofiled), (("--trainer.profiler", "simple"), SimpleProfiler)])
def test_nothing_is_profiled_by_default(
    twofold: Twofold, trainers: list[Any], asked: tuple[str, ...], profiler: type[Profiler]
) -> None:
    fitted(twofold, *asked)
    (trainer,) = trainers
    assert type(trainer.profiler) is profiler


@pytest.mark.parametrize(
    ("options", "bar"),
    [
        ("", "RunProgress"),
        ("--trainer.callbacks+=TQDMProgressBar --trainer.callbacks+=callbacks.StopWhenSolved", "TQDMProgressBar"),
        ("--trainer.callbacks RichProgressBar", "RichProgressBar"),
        ("-c bar.yaml", "Bar"),
    ],
)
def test_the_users_own_progress_bar_replaces_ours(
    twofold: Twofold, trainers: list[Any], tmp_path: Path, options: str, bar: str
) -> None:
    text = "from lightning.pytorch.callbacks import TQDMProgressBar\nclass Bar(TQDMProgressBar):\n    pass\n"
    (tmp_path / "my_bar.py").write_text(text)
    (tmp_path / "bar.yaml").write_text("trainer: {callbacks: [LearningRateMonitor, my_bar.Bar]}\n")
    fitted(twofold, *options.split())
    (trainer,) = trainers
    assert [type(each).__name__ for each in trainer.callbacks if isinstance(each, ProgressBar)] == [bar]


@pytest.mark.parametrize(
    ("options", "group"), [("", "of-env"), ("--trainer.logger TwofoldWandbLogger --trainer.logger.group mine", "mine")]
)
def test_wandb_group_of_the_environment(
    twofold: Twofold, trainers: list[Any], monkeypatch: pytest.MonkeyPatch, options: str, group: str
) -> None:
    monkeypatch.setenv("WANDB_RUN_GROUP", "of-env")
    folder = fitted(twofold, *options.split())
    assert trainers[0].loggers[-1]._wandb_init["group"] == group
    assert f"group: {group}" in (folder / "config.yaml").read_text(encoding="utf-8")  # for a resume without it


FLIP_FLOP = "fit -c flip_flop --trainer.fast_dev_run 1"


@pytest.mark.parametrize("form", ["--model.network {}", "-c network.yaml"])
@pytest.mark.parametrize(
    "name",
    ["LSTM", "RNN", "GRU", "MinGRU", "LRU", "S6", "Transformer", "torch.nn.LSTM", "torch.nn.GRU", "torch.nn.RNN"],
)
def test_a_config_trains_any_network(
    twofold: Twofold, trainers: list[Any], tmp_path: Path, name: str, form: str
) -> None:
    (tmp_path / "network.yaml").write_text(f"model: {{init_args: {{network: {{class_path: {name}}}}}}}\n")
    assert twofold(f"{FLIP_FLOP} {form.format(name)}")[::2] == (0, "")
    network = type(trainers[0].model.network)
    ours = {cls.__name__: cls for cls in NETWORKS}
    assert network is (ours[name] if name in ours else getattr(nn, name.removeprefix("torch.nn.")))


@pytest.mark.parametrize(
    ("options", "init", "horizon"),
    [
        ("", "forget_log", 32),
        ("--data.length 256", "forget_log", 256),
        ("--data.length=9 --model.network GRU --model.network.init update_log", "update_log", 9),
        ("--model.network=GRU", "torch", 32),
        ("-c gru.yaml", "torch", 32),
        ("-c other.yaml --data.length 12", "chrono", 12),
        ("--data ParityDataModule", "forget_log", 32),
        ("--data other.Other --model.network.horizon 7", "forget_log", 7),
    ],
)
def test_a_networks_horizon_is_the_length_of_its_task(
    twofold: Twofold, trainers: list[Any], tmp_path: Path, options: str, init: str, horizon: int
) -> None:
    (tmp_path / "gru.yaml").write_text("model: {init_args: {network: GRU}}\n")
    (tmp_path / "other.yaml").write_text("model: {init_args: {network: {init_args: {init: chrono, horizon: 99}}}}\n")
    (tmp_path / "other.py").write_text(
        "from lightning import LightningDataModule\n"
        "from torch import ones\n"
        "from torch.utils.data import DataLoader\n"
        "batches = DataLoader([(ones(5, 2).long(), ones(5, 2).long())], batch_size=None)\n"
        "class Other(LightningDataModule):\n"
        "    train_dataloader = val_dataloader = lambda self: batches\n"
    )
    assert twofold(f"{FLIP_FLOP} {options}")[::2] == (0, "")
    network = trainers[0].model.network
    assert (network.init, network.horizon) == (init, horizon)


def test_images_of_ones_own(twofold: Twofold, tmp_path: Path) -> None:
    (tmp_path / "my_images.py").write_text(
        "import torch\n"
        "from datamodules import ImageDataModule\n"
        "from datamodules.images import SplitImages\n"
        "class Noise(ImageDataModule):\n"
        "    image_shape, class_names, data_source = (1, 28, 28), (), 'noise'\n"
        "    def __init__(self):\n"
        "        super().__init__(8, None)\n"
        "        images, labels = torch.zeros(60, 1, 28, 28, dtype=torch.uint8), torch.zeros(60).long()\n"
        "        self._splits = SplitImages(images, labels, *torch.arange(60).split([40, 10, 10]))\n"
    )
    small = "--trainer.max_steps 1 --trainer.callbacks ImageGrid"
    assert twofold(f"fit -c gan_template --data my_images.Noise {small}")[::2] == (0, "")
    code, _, complained = twofold(f"fit -c gan_conditional --data my_images.Noise {small}")
    assert (code, complained.count("\n")) == (2, 1)
    assert "the model needs classes, and my_images.Noise has none" in complained


def test_a_task_needs_no_least_length(twofold: Twofold, tmp_path: Path) -> None:
    (tmp_path / "copy_task.py").write_text(
        "from datamodules import SequenceDataModule\n"
        "class Copy(SequenceDataModule):\n"
        "    symbol_names = ['0', '1']\n"
        "    def draw(self, random, rows, length, case=''): return random.integers(0, 2, (rows, length))\n"
        "    def targets(self, symbols): return symbols\n"
    )
    curriculum = "--trainer.callbacks+=LengthCurriculum --trainer.callbacks.start 1"
    assert twofold(f"{FLIP_FLOP} --data copy_task.Copy --data.length 2 {curriculum}")[::2] == (0, "")
    complained = twofold(f"{FLIP_FLOP} --data copy_task.Copy --data.length 0")[2]
    assert complained == "twofold: length is 0, too short for this task; write 1 or more\n"


def test_switching_off(twofold: Twofold) -> None:
    assert len(twofold(f"fit -c {LSTM} --trainer.max_steps 2 --trainer.enable_progress_bar false")[1].splitlines()) == 1
    folder = fitted(twofold, "--trainer.enable_checkpointing", "false", "--trainer.logger", "false")
    assert {path.name for path in folder.iterdir()} == {"config.yaml", "run.json", ".lock"}


@pytest.mark.parametrize(
    ("command", "options", "difference"),
    [
        (f"test -c {LSTM}", "--model.hidden_size 16", ": hidden_size is 16 there and 64 here"),
        (f"predict -c {LSTM} --data.target second_half", "", ": target is last there and second_half here"),
        (f"test -c {RNN}", "", ""),
        (f"test -c {GAN} --data.source packaged", "", ""),
    ],
)
def test_weights_of_another_model_are_refused(twofold: Twofold, command: str, options: str, difference: str) -> None:
    checkpoint = fitted(twofold, *options.split()) / "checkpoints" / "last.ckpt"
    code, _, complained = twofold(f"{command} --ckpt_path {checkpoint}")
    assert (code, complained.count("\n")) == (2, 1)
    assert len(complained) < 400
    assert f"don't fit the model of this config{difference}" in complained


def test_a_test_has_a_row_for_its_checkpoint_and_a_column_for_each_length(twofold: Twofold) -> None:
    folder = fitted(twofold)
    code, _, complained = twofold(f"test -c {folder}/config.yaml --ckpt_path best")
    assert (code, "has no best checkpoint" in complained) == (2, True)
    folder = fitted(twofold, "--data.batches_per_epoch", 2)
    command = f"test -c {folder}/config.yaml --ckpt_path best --data.test_lengths [5,50,1001] --data.test_size 20"
    assert twofold(command)[::2] == (0, "")
    [tested] = read_rows(folder / "test.csv")
    columns = [name for name in tested if name.startswith("test/")]
    uniform = ["test/accuracy/T=5", "test/accuracy/T=50", "test/accuracy/T=1001"]
    worst = [f"{name}/{case}" for name in uniform for case in [*CASES, "adversary"]]
    assert set(columns) == {*uniform, *worst} - {"test/accuracy/T=1001/adversary"}
    for name in uniform:
        assert float(tested[name]) * 20 == pytest.approx(round(float(tested[name]) * 20), abs=1e-4)
    assert (tested["checkpoint"], tested["length"]) == ("best.ckpt", "20")
    assert tested["step"] in ("2", "4")
    assert twofold(f"{command} --trainer.fast_dev_run true")[0] == 0
    assert read_rows(folder / "test.csv") == [tested]


@pytest.mark.parametrize("arguments", [(), ("--help",), ("runs",)])
def test_answers_without_torch_where_it_can(arguments: tuple[str, ...], tmp_path: Path) -> None:
    code = (
        "import sys; from twofold.main import main; code = main(sys.argv[1:]); "
        "assert not {'torch', 'lightning', 'wandb', 'jsonargparse'} & set(sys.modules); sys.exit(code)"
    )
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "TWOFOLD_RUNS": "r"}, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "twofold fit -c" in done.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--help",), "--trainer.max_steps"),
        (("--model.help=lightning_modules.PalindromeLSTM",), "--model.hidden_size"),
        (("--trainer.callbacks.help", "callbacks.ImageGrid"), "--trainer.callbacks.every_n_batches"),
        (("-c", LSTM, "--data.length", "7", "--print_config"), "length: 7"),
        (("-c", LSTM, "--print_config"), "seed_everything: 1"),  # of base.yaml
    ],
)
def test_help_and_print_config(
    twofold: Twofold, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], expected: str
) -> None:
    with pytest.raises(SystemExit) as stop:
        twofold("fit", *arguments)
    assert stop.value.code in (0, None)
    assert expected in capsys.readouterr().out


def test_default_root_dir_is_the_folder_of_the_run(twofold: Twofold, tmp_path: Path) -> None:
    command = "fit -c palindrome_lstm --trainer.max_steps 2 --trainer.default_root_dir mine"
    assert twofold(command)[::2] == (0, "")
    assert (tmp_path / "mine" / "checkpoints" / "last.ckpt").is_file()
    assert not (tmp_path / "runs").exists()
    code, _, complained = twofold(command)
    assert (code, complained.count("isn't empty; write a new folder")) == (2, 1)
    (tmp_path / "mine").rename(tmp_path / "moved")
    assert twofold("fit -c moved/config.yaml --ckpt_path last --trainer.max_steps 3")[::2] == (0, "")
    assert not (tmp_path / "mine").exists()
    elsewhere = twofold("fit -c moved/config.yaml --ckpt_path last --trainer.default_root_dir other")
    assert (elsewhere[0], elsewhere[2].count("leave --trainer.default_root_dir out")) == (2, 1)


def test_home_folder_in_paths(twofold: Twofold, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    run = tmp_path / "one"
    assert fitted(twofold, "--trainer.default_root_dir=~/one") == run
    code, said, _ = twofold("validate -c=~/one/config.yaml --ckpt_path ~/one/checkpoints/last.ckpt")
    assert (code, said.splitlines()[-1]) == (0, f"metrics in {run}/validate.csv")
    again = "fit -c ~/one/config.yaml --ckpt_path last --trainer.default_root_dir ~/one --trainer.max_steps 5"
    assert twofold(again)[0] == 0
    monkeypatch.setenv("TWOFOLD_RUNS", "~/all")
    assert fitted(twofold).parent == tmp_path / "all" / "palindrome_lstm"
    assert str(tmp_path / "all") in twofold("runs")[1]
    assert not list(tmp_path.rglob("~"))
    parser = OneLineParser()
    for name, kind in (("generator", Path), ("--out", file_name(".png"))):
        parser.add_argument(name, type=kind)
    options = parser.parse_args(["~/a.pth", "--out=~/b.png"])
    assert (options.generator, options.out) == (tmp_path / "a.pth", tmp_path / "b.png")


@pytest.mark.parametrize("module", ["mine", "my_folder.parts"])
def test_a_class_in_the_current_folder_is_found(twofold: Twofold, tmp_path: Path, module: str) -> None:
    path = tmp_path / f"{module.replace('.', '/')}.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text("from lightning.pytorch import Callback\nclass Mine(Callback):\n    pass\n")
    folder = fitted(twofold, f"--trainer.callbacks+={module}.Mine")
    assert f"{module}.Mine" in (folder / "config.yaml").read_text()


def test_no_module_of_the_user_shadows_ours(tmp_path: Path) -> None:
    for name in (*PACKAGES, "scripts"):
        (tmp_path / f"{name}.py").touch()
    code = (
        "import sys; from importlib.util import find_spec; from twofold.main import PACKAGES, main; main([]); "
        "print(*(find_spec(name).origin for name in PACKAGES))"
    )
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{CONFIGS.parent}"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    found = done.stdout.splitlines()[-1].split()
    assert found == [str(CONFIGS.parent / name / "__init__.py") for name in PACKAGES]


SCHEDULES = [
    ("--model.lr_scheduler LinearLR --model.lr_scheduler.end_factor 0", "total_iters"),
    ("--model.lr_scheduler=torch.optim.lr_scheduler.CosineAnnealingLR", "T_max"),
    ("--model.lr_scheduler OneCycleLR --model.lr_scheduler.max_lr 0.1", "total_steps"),
]


@pytest.mark.parametrize(("options", "length"), SCHEDULES)
def test_a_schedule_is_as_long_as_the_run(twofold: Twofold, options: str, length: str) -> None:
    folder = fitted(twofold, *options.split())
    assert f"{length}: 4\n" in (folder / "config.yaml").read_text()
    code, said, _ = twofold(f"fit -c {folder}/config.yaml --ckpt_path last")
    assert (code, "its learning-rate schedule is at its end" in said) == (0, True)
    code, _, complained = twofold(f"fit -c {folder}/config.yaml --ckpt_path last --trainer.max_steps 6")
    assert code == 2
    assert f"--model.lr_scheduler.{length} is 4 because max_steps was" in complained


@pytest.mark.parametrize("limit", ["--trainer.max_steps 4", "--trainer.max_steps -1 --trainer.max_epochs 2"])
def test_a_schedule_of_another_length_warns(twofold: Twofold, limit: str) -> None:
    schedule = "--model.lr_scheduler LinearLR --model.lr_scheduler.total_iters 9 --data.batches_per_epoch 2"
    code, _, complained = twofold(f"fit -c {LSTM} {schedule} {limit}")
    assert code == 0
    assert complained == (
        "twofold: --model.lr_scheduler.total_iters is 9 batches, but the run has 4; write 4 to end with the run\n"
    )
