"""Sweeps of real trainings: killed and resumed; the shipped sweep files; a W&B agent."""

import csv
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from integration.conftest import found
from started import start, wait_until

from scripts.sweep_file import read_sweep
from twofold.run_folder import RunFolder

ROOT = Path(__file__).parents[2]
SHIPPED = sorted((ROOT / "configs" / "sweeps").glob("*.yaml"))
Twofold = Callable[..., "subprocess.CompletedProcess[str]"]

COMMAND = "twofold fit -c CONFIG --data.length=5 --trainer.max_steps=30 --checkpoint.every_n_train_steps=5"
SWEEP = {
    "command": [*COMMAND.replace("CONFIG", str(ROOT / "configs" / "palindrome_lstm.yaml")).split(), "${args}"],
    "method": "bayes",
    "metric": {"name": "train/loss", "goal": "minimize"},
    "parameters": {
        "model.optimizer.lr": {"distribution": "log_uniform_values", "min": 0.0001, "max": 0.03},
        "model.hidden_size": {"values": [16, 32]},
    },
}
SLOWLY = "--data.batch_size=8192"
"""So that thirty batches take long enough for a kill between them."""


def runs(folder: Path) -> list[RunFolder]:
    return [RunFolder(path.parent) for path in sorted(folder.glob("runs/sweeps/s/trial_*/*/*/run.json"))]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "stopped"])
def test_a_killed_sweep_resumes_without_repeating_runs(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(SWEEP))
    command = ("s.yaml", "--trials", 4, "--workers", 2, "--", SLOWLY)
    process = start(tmp_path, "-m", "scripts.sweep", *command)

    def third_trains() -> bool:
        assert process.poll() is None, process.communicate()
        return any(run.step >= 5 for run in runs(tmp_path)[2:])

    wait_until(third_trains, "a third trial trains", seconds=120)
    process.send_signal(number)
    process.communicate()
    assert process.returncode == (143 if number == signal.SIGTERM else -number)
    reached = {run.path: run.step for run in runs(tmp_path)}
    assert any(step < 30 for step in reached.values())

    out, err = start(tmp_path, "-m", "scripts.sweep", *command).communicate()
    assert "best is trial" in out, err
    after = runs(tmp_path)
    assert [run.step for run in after] == [30] * 4
    assert reached.keys() <= {run.path for run in after}, "interrupted trials resume their runs"
    with (tmp_path / "runs/sweeps/s/trials.csv").open(newline="") as file:
        assert [row["state"] for row in csv.DictReader(file)].count("COMPLETE") == 4


def drawn_trial(path: Path) -> tuple[list[str], dict[str, Any]]:
    """The arguments of one trial, and its parameters."""
    sweep = read_sweep(path)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    values = study.ask(sweep.parameters).params
    return sweep.arguments(values), values


@pytest.mark.slow
@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_trial_of_a_shipped_sweep_is_what_the_command_line_understands(path: Path, twofold: Twofold) -> None:
    arguments, values = drawn_trial(path)
    printed = twofold(ROOT, *arguments, "--print_config")
    assert printed.returncode == 0, printed.stderr
    config = yaml.safe_load(printed.stdout)
    for name, value in values.items():
        assert found(config, name.split(".")) == pytest.approx(value), name


@pytest.mark.slow
@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_trial_of_a_shipped_sweep_trains(path: Path, tmp_path: Path, twofold: Twofold) -> None:
    arguments, _ = drawn_trial(path)
    arguments[arguments.index("-c") + 1] = str(ROOT / arguments[arguments.index("-c") + 1])
    shortened = ["--trainer.max_steps=2", "--trainer.log_every_n_steps=1"]
    if path.stem == "gan":
        shortened += ["--data.source=packaged", "--trainer.callbacks.every_n_batches=2"]
    trained = twofold(tmp_path, *arguments, *shortened, WANDB_MODE="disabled")
    assert trained.returncode == 0, trained.stderr
    (table,) = tmp_path.glob("runs/*/*/metrics.csv")
    with table.open(newline="") as file:
        assert any(row.get(read_sweep(path).metric) for row in csv.DictReader(file))


@pytest.mark.slow
def test_a_run_that_an_agent_of_wandb_started_is_the_agents(tmp_path: Path, twofold: Twofold) -> None:
    drawn = tmp_path / "wandb" / "sweep-abcd1234" / "config-agents01.yaml"
    drawn.parent.mkdir(parents=True)
    drawn.write_text("wandb_version: 1\nmodel.hidden_size: { value: 16 }\n")
    agents = {"WANDB_SWEEP_ID": "abcd1234", "WANDB_RUN_ID": "agents01", "WANDB_SWEEP_PARAM_PATH": str(drawn)}
    config = ROOT / "configs" / "palindrome_lstm.yaml"
    options = ("--data.length=5", "--trainer.max_steps=3", "--model.hidden_size=16")
    trained = twofold(tmp_path, "fit", "-c", config, *options, WANDB_MODE="offline", **agents)
    assert trained.returncode == 0, trained.stderr
    (file,) = tmp_path.glob("runs/*/*/wandb/offline-run-*/*.wandb")
    assert file.name == "run-agents01.wandb"
    content = file.read_bytes()
    assert b"abcd1234" in content
    assert b"model.hidden_size" in content
