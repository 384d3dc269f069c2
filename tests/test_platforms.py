"""Locales whose encoding isn't UTF-8, names that aren't ASCII, and systems without POSIX signals."""

import fcntl
import importlib
import locale
import os
import signal
import sys
from collections.abc import Callable, Iterator
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest

from common.files import write_tensors
from scripts import sample

Command = Callable[..., tuple[int, str, str]]
CONFIGS = Path(__file__).parents[1] / "configs"
SHORT = (
    "--data.source packaged --data.batch_size 9 --model.lr_scheduler null --checkpoint.monitor null "
    "--trainer.log_every_n_steps 1 --trainer.limit_val_batches 1 --trainer.limit_test_batches 1 --trainer.max_steps 2"
)


@pytest.fixture
def ascii_locale() -> Iterator[None]:
    """Files that are opened without an encoding are ASCII."""
    before = locale.setlocale(locale.LC_CTYPE)
    locale.setlocale(locale.LC_CTYPE, "C")
    yield
    locale.setlocale(locale.LC_CTYPE, before)


@pytest.mark.usefixtures("ascii_locale")
@pytest.mark.parametrize("name", ["Größe", "数据 🙂"])
def test_any_name_works_in_any_locale(twofold: Command, tmp_path: Path, name: str) -> None:
    config, folder = tmp_path / f"{name}.yaml", tmp_path / name
    config.write_text(f"# {name} ≥ 4\n{(CONFIGS / 'digit_reader.yaml').read_text()}", encoding="utf-8")
    settings = ("--data.root", name, "--trainer.default_root_dir", folder)
    assert twofold("fit", "-c", config, *SHORT.split(), *settings) == (0, f"results in {folder}\n", "")
    assert name in (folder / "config.yaml").read_text(encoding="utf-8")
    resume = ("-c", folder / "config.yaml", "--ckpt_path", "last")
    assert twofold("fit", *resume, "--trainer.max_steps", 3)[::2] == (0, "")
    assert (folder / "metrics.csv").read_text(encoding="utf-8").count("\n") == 4
    for command in ("validate", "test"):
        assert twofold(command, *resume)[::2] == (0, "")


def test_characters_that_the_terminal_lacks_are_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", TextIOWrapper(BytesIO(), "ascii"))
    with pytest.raises(SystemExit, match=r"^0$"):
        sample.main(["--help"])
    sys.stdout.seek(0)
    assert r"runs/gan/\u2026/mnist_generator.pth" in sys.stdout.read()


def test_the_command_runs_where_signal_has_no_sigusr1(script: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    for name in [name for name in sys.modules if name.partition(".")[0] == "twofold"]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.MonkeyPatch.context() as windows:
        windows.delattr(signal, "SIGUSR1")
        importlib.import_module("twofold.lightning_cli")
        main = importlib.import_module("twofold.main").main
    code, _, complained = script(main, "fit", "-c", "palindrome_lstm", "--trainer.max_steps", 2)
    assert (code, complained) == (0, "")


def test_files_are_flushed_through_a_handle_that_may_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modes = []
    monkeypatch.setattr(os, "fsync", lambda file: modes.append(fcntl.fcntl(file, fcntl.F_GETFL) & os.O_ACCMODE))
    write_tensors({}, tmp_path / "weights.pth")
    assert modes == [os.O_RDWR], "Windows refuses the others"
