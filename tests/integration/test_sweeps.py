"""A sweep of real trainings is killed and goes on; the shipped ones are what the command line understands."""

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

from scripts.search_space import read_sweep
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


def trials(folder: Path) -> list[optuna.trial.FrozenTrial]:
    return optuna.load_study(study_name="sweep", storage=f"sqlite:///{folder}/runs/sweeps/s.db").trials


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "stopped"])
def test_a_sweep_that_is_killed_loses_and_repeats_nothing(tmp_path: Path, number: signal.Signals) -> None:
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
    wait_until(lambda: all(run.state != "running" for run in runs(tmp_path)), "no training goes on alone", seconds=120)
    killed = trials(tmp_path)
    finished = [trial for trial in killed if trial.state.is_finished()]
    left = [trial for trial in killed if not trial.state.is_finished()]
    assert finished
    assert left
    reached = {run.path: run.step for run in runs(tmp_path)}
    files = {path: path.stat().st_mtime_ns for path in tmp_path.glob("runs/sweeps/s/trial_*/*/*/metrics.csv")}

    process = start(tmp_path, "-m", "scripts.sweep", *command)
    said, complained = process.communicate()
    assert process.returncode == 0, complained
    after = trials(tmp_path)
    assert [trial.state.name for trial in after] == ["COMPLETE"] * 4
    assert [trial for trial in after if trial.number in {one.number for one in finished}] == finished
    for trial in left:
        assert after[trial.number].params == trial.params
        assert f"trial {trial.number} complete after 30 batches" in said
    assert len(runs(tmp_path)) == 4, "no trial was begun a second time"
    assert all(run.step == 30 for run in runs(tmp_path))
    for trial in finished:
        assert f"trial {trial.number} " not in said.partition("best is")[0]
        (table,) = tmp_path.glob(f"runs/sweeps/s/trial_{trial.number:04d}/*/*/metrics.csv")
        assert table.stat().st_mtime_ns == files[table]
    resumed = [run.path for run in runs(tmp_path) if 0 < reached.get(run.path, 0) < 30]
    assert resumed, "the kill came in the middle of a training"

    with (tmp_path / "runs" / "sweeps" / "s.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted(int(row["trial"]) for row in rows) == [0, 1, 2, 3]
    losses = [float(row["train/loss"]) for row in rows]
    assert losses == sorted(losses)
    assert (tmp_path / "runs" / "sweeps" / "s.png").stat().st_size > 10_000
    best = said.partition("best is")[2].splitlines()[1]
    assert best.startswith("twofold fit -c ")
    assert f"--model.hidden_size={rows[0]['model.hidden_size']}" in best


def drawn_trial(path: Path) -> tuple[list[str], dict[str, Any]]:
    """The arguments of one trial, and its parameters."""
    sweep = read_sweep(path)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    values = sweep.suggest(study.ask())
    return sweep.arguments(values), values


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_trial_of_a_shipped_sweep_is_what_the_command_line_understands(path: Path, twofold: Twofold) -> None:
    arguments, values = drawn_trial(path)
    printed = twofold(ROOT, *arguments, "--print_config")
    assert printed.returncode == 0, printed.stderr
    config = yaml.safe_load(printed.stdout)
    for name, value in values.items():
        assert found(config, name.split(".")) == pytest.approx(value), name


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
