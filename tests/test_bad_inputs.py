"""Every mistake gets one line, the right exit code and no traceback, and leaves nothing behind."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path

import pytest
from bad_inputs import CONFIGS, GAN, LSTM, SCRIPTS, TWOFOLD, write_bad_files, write_code

ROOT = CONFIGS.parent
Answer = tuple[int, str, str]
ONE_OF_EACH = [
    (f"twofold.main fit -c {LSTM} --trainer.max_step 3", "did you mean --trainer.max_steps?"),
    ("twofold.main validate -c tab.yaml --ckpt_path last", "the config is not YAML"),
    (f"twofold.main test -c {LSTM} --ckpt_path text.yaml", "is damaged"),
    (f"twofold.main predict -c {GAN} --ckpt_path nowhere.ckpt", "is not a file"),
    ("twofold.main runs --all", "there is no option --all here"),
    ("scripts.export text.yaml --onnx x.onnx", "is damaged"),
    ("scripts.sample nowhere.pth --out x.png", "is not a file"),
    ("scripts.interpolate nowhere.pth --digits 3 8 --out x.png", "is not a file"),
    ("scripts.train_classifier nowhere", "invalid choice: 'nowhere'"),
    ("scripts.plot_gates nowhere.ckpt", "is not a file"),
    ("scripts.report --only nothing", "--only nothing is not a figure"),
    ("scripts.demo --fast", "there is no option --fast here"),
]


def names(commands: Iterable[tuple[str, str]]) -> list[str]:
    return [command.replace(f"{CONFIGS}/", "") for command, _ in commands]


def assert_one_line(answer: Answer, expected: str) -> None:
    code, said, complained = answer
    assert (code, said) == (2, "")
    assert complained.count("\n") == 1, complained
    assert expected in complained
    assert len(complained) < 400


@pytest.mark.parametrize(("command", "expected"), TWOFOLD, ids=names(TWOFOLD))
def test_twofold(
    command: str, expected: str, twofold: Callable[..., Answer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    write_bad_files(tmp_path)
    write_code(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    answer = twofold(command)
    assert_one_line(answer, expected)
    assert answer[2].startswith("twofold: ")
    assert sorted(path for path in tmp_path.rglob("*") if path.parent.name != "data") == before


@pytest.mark.parametrize(("command", "expected"), SCRIPTS, ids=names(SCRIPTS))
def test_scripts(command: str, expected: str, script: Callable[..., Answer], tmp_path: Path) -> None:
    write_bad_files(tmp_path)
    before = sorted(tmp_path.iterdir())
    name, *arguments = command.split()
    package = "scripts" if (ROOT / "scripts" / f"{name}.py").exists() else "benchmarks"
    main = import_module(f"{package}.{name}").main
    assert_one_line(script(main, *arguments), expected)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("runs", ["text", "/dev/null/x", "/proc/runs"])
def test_a_runs_folder_that_can_t_be_made(
    runs: str, twofold: Callable[..., Answer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "text").touch()
    monkeypatch.setenv("TWOFOLD_RUNS", runs)
    assert_one_line(twofold("fit", "-c", LSTM), f"can't make the run's folder {runs}/palindrome_lstm/")
    if runs == "text":
        assert_one_line(twofold("runs"), "$TWOFOLD_RUNS is text, which is no folder; write a folder's path")
    assert [path.name for path in tmp_path.rglob("*")] == ["text"]


def test_an_empty_folder_stays_where_others_have_runs(twofold: Callable[..., Answer], tmp_path: Path) -> None:
    (tmp_path / "runs/palindrome_lstm/other").mkdir(parents=True)
    twofold("fit", "-c", LSTM, "--model.kernel", "fast")
    assert [path.name for path in tmp_path.rglob("*")] == ["runs", "palindrome_lstm", "other"]


@pytest.mark.parametrize(
    ("command", "expected"),
    [ONE_OF_EACH[0], *(pytest.param(*case, marks=pytest.mark.slow) for case in ONE_OF_EACH[1:])],
    ids=names(ONE_OF_EACH),
)
def test_in_a_process_of_its_own(command: str, expected: str, tmp_path: Path) -> None:
    write_bad_files(tmp_path)
    before = sorted(tmp_path.iterdir())
    module, *arguments = command.split()
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "WANDB_MODE": "disabled"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert_one_line((done.returncode, done.stdout, done.stderr), expected)
    assert sorted(tmp_path.rglob("*")) == before
