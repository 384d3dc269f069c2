"""Sweeps of real trainings: killed and resumed; the shipped sweep files; a W&B agent."""

from pathlib import Path

import optuna
import pytest
import yaml
from integration.conftest import Twofold, found
from started import start, wait_until

from scripts.sweep_file import read_sweep
from twofold.run_folder import RunFolder
from twofold.tables import read_rows

ROOT = Path(__file__).parents[2]
SHIPPED = sorted((ROOT / "configs" / "sweeps").glob("*.yaml"))

COMMAND = "twofold fit -c palindrome_lstm --data.length=5 --trainer.max_steps=30 --checkpoint.every_n_train_steps=5"
SWEEP = {
    "command": [*COMMAND.split(), "${args}"],
    "method": "bayes",
    "metric": {"name": "train/loss", "goal": "minimize"},
    "parameters": {"model.optimizer.lr": {"min": 0.0001, "max": 0.03}},
}
SLOWLY = "--data.batch_size=8192"
"""Thirty batches of this size take long enough for a kill between them."""


def runs(folder: Path) -> list[RunFolder]:
    return [RunFolder(path.parent) for path in sorted(folder.glob("runs/sweeps/s/trial_*/*/*/run.json"))]


@pytest.mark.slow
def test_killed_sweep_resumes_without_repeating_runs(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(SWEEP))
    command = ("-m", "scripts.sweep", "s.yaml", "--trials", 4, "--workers", 2, "--", SLOWLY)
    process = start(tmp_path, *command)

    def third_trains() -> bool:
        assert process.poll() is None, process.communicate()
        return any(run.step >= 5 for run in runs(tmp_path)[2:])

    wait_until(third_trains, "a third trial trains", seconds=120)
    process.kill()
    process.communicate()
    reached = {run.path: run.step for run in runs(tmp_path)}
    assert any(step < 30 for step in reached.values())

    out, err = start(tmp_path, *command).communicate()
    assert "best is trial" in out, err
    after = runs(tmp_path)
    assert [run.step for run in after] == [30] * 4
    assert reached.keys() <= {run.path for run in after}, "interrupted trials resume their runs"
    rows = read_rows(tmp_path / "runs/sweeps/s/trials.csv")
    assert [row["state"] for row in rows].count("COMPLETE") == 4


@pytest.mark.slow
@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_trial_of_a_shipped_sweep_trains_with_its_parameters(path: Path, tmp_path: Path, twofold: Twofold) -> None:
    sweep = read_sweep(path)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    parameters = study.ask(sweep.parameters).params
    arguments = [argument.replace("configs/", f"{ROOT}/configs/") for argument in sweep.arguments(parameters)]
    shortened = ["--trainer.max_steps=2", "--trainer.log_every_n_steps=1"]
    if path.stem == "gan":
        shortened += ["--data.source=packaged", "--trainer.callbacks.every_n_batches=2"]
    trained = twofold(tmp_path, *arguments, *shortened, WANDB_MODE="disabled")
    assert trained.returncode == 0, trained.stderr
    (table,) = tmp_path.glob("runs/*/*/metrics.csv")
    assert any(row[sweep.metric] for row in read_rows(table))
    config = yaml.safe_load(table.with_name("config.yaml").read_text())
    for name, value in parameters.items():
        assert found(config, name.split(".")) == pytest.approx(value), name


@pytest.mark.slow
def test_run_of_a_wandb_agent_belongs_to_its_sweep(tmp_path: Path, twofold: Twofold) -> None:
    drawn = tmp_path / "wandb" / "sweep-abcd1234" / "config-agents01.yaml"
    drawn.parent.mkdir(parents=True)
    drawn.write_text("wandb_version: 1\nmodel.hidden_size: { value: 16 }\n")
    agents = {"WANDB_SWEEP_ID": "abcd1234", "WANDB_RUN_ID": "agents01", "WANDB_SWEEP_PARAM_PATH": str(drawn)}
    options = ("--data.length=5", "--trainer.max_steps=3", "--model.hidden_size=16")
    trained = twofold(tmp_path, "fit", "-c", "palindrome_lstm", *options, WANDB_MODE="offline", **agents)
    assert trained.returncode == 0, trained.stderr
    (file,) = tmp_path.glob("runs/*/*/wandb/offline-run-*/*.wandb")
    assert file.name == "run-agents01.wandb"
    content = file.read_bytes()
    assert b"abcd1234" in content
    assert b"model.hidden_size" in content
