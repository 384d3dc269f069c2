"""Sweep files: what W&B's own code makes of them is what ours does, and what Optuna can't do is refused in words."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, IntDistribution
from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args
from wandb.sdk.sweeps.scheduler.optuna import sweep_parameter_to_distribution

from scripts.search_space import Sweep, distribution, read_sweep
from twofold.errors import UsageError

ROOT = Path(__file__).parents[1]
SHIPPED = sorted((ROOT / "configs" / "sweeps").glob("*.yaml"))
SWEEP: dict[str, Any] = {
    "program": "twofold",
    "command": ["${env}", "${program}", "fit", "-c", "a.yaml", "--trainer.max_steps=9", "${args}"],
    "method": "random",
    "metric": {"name": "val/loss", "goal": "minimize"},
    "parameters": {"model.r1": {"values": [0.1, 1.0]}},
}

reals = st.floats(1e-6, 1e6)
wholes = st.integers(-1000, 1000)
ordered = st.tuples(reals, reals).map(sorted)
said = st.one_of(
    st.builds(lambda value: {"value": value}, st.one_of(wholes, reals, st.booleans(), st.text())),
    st.builds(lambda values: {"values": values}, st.lists(st.one_of(wholes, reals), min_size=1, unique=True)),
    st.builds(lambda ends: {"min": ends[0], "max": ends[1]}, ordered),
    st.builds(lambda ends: {"min": ends[0], "max": ends[1]}, st.tuples(wholes, wholes).map(sorted)),
    st.builds(lambda ends: {"distribution": "uniform", "min": ends[0], "max": ends[1]}, ordered),
    st.builds(lambda ends: {"distribution": "log_uniform_values", "min": ends[0], "max": ends[1]}, ordered),
    st.builds(
        lambda low, n, q: {"distribution": "q_uniform", "min": low, "max": low + n * q, "q": q},
        wholes,
        st.integers(0, 20),
        st.one_of(st.integers(1, 50), st.sampled_from([0.25, 0.5, 1.5])),
    ),
)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    """What SWEEP says."""
    path = tmp_path_factory.mktemp("sweep") / "sweep.yaml"
    path.write_text(yaml.safe_dump(SWEEP))
    return read_sweep(path)


@given(said)
def test_parameters_are_drawn_as_wandbs_own_translation_has_it(said: dict[str, Any]) -> None:
    assert distribution("a", said) == sweep_parameter_to_distribution(said)


@given(said, st.integers(0, 2**31))
def test_what_is_drawn_lies_within_the_bounds(said: dict[str, Any], seed: int) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    drawn = study.ask({"a": distribution("a", said)}).params["a"]
    if "min" not in said:
        assert drawn in said.get("values", [said.get("value")])
        return
    assert said["min"] <= drawn <= said["max"] or math.isclose(drawn, said["max"])
    if "q" in said:
        steps = (drawn - said["min"]) / said["q"]
        assert steps == pytest.approx(round(steps))
    elif "distribution" not in said and isinstance(said["min"], int) and isinstance(said["max"], int):
        assert isinstance(drawn, int)


@given(st.dictionaries(st.sampled_from(["model.r1", "data.length", "a"]), st.one_of(wholes, reals, st.booleans())))
def test_a_trial_is_the_command_that_an_agent_of_wandb_starts(sweep: Sweep, values: dict[str, Any]) -> None:
    written = create_sweep_command_args({"args": {name: {"value": value} for name, value in values.items()}})
    expected = []
    for part in create_sweep_command(list(SWEEP["command"])):
        filled = {"${env}": [], "${program}": ["twofold"], "${args}": written["args"]}
        expected += filled.get(part, [part])
    assert ["twofold", *sweep.arguments(values)] == expected


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_sweeps_stop_on_purpose_and_prune(path: Path) -> None:
    sweep = read_sweep(path)
    said = yaml.safe_load(path.read_text())
    assert sweep.command[:2] == ("fit", "-c")
    assert any(part.startswith("--trainer.max_steps=") for part in sweep.command)
    assert (ROOT / sweep.command[2]).is_file()
    assert isinstance(sweep.sampler(), optuna.samplers.TPESampler)
    assert isinstance(sweep.pruner(), optuna.pruners.SuccessiveHalvingPruner)
    assert {name: sweep_parameter_to_distribution(how) for name, how in said["parameters"].items()} == sweep.parameters
    assert said["program"] == "twofold"
    assert f"configs/sweeps/{path.name}" in path.read_text(), "it says how to start it"


def test_there_are_sweeps_of_the_game_and_of_memory() -> None:
    assert [path.stem for path in SHIPPED] == ["gan", "memory_horizon"]


def test_the_sampler_and_the_pruner_are_those_of_the_file(edited: Callable[..., Any]) -> None:
    assert isinstance(edited().sampler(), optuna.samplers.RandomSampler)
    assert isinstance(edited().pruner(), optuna.pruners.NopPruner)
    assert isinstance(edited(method="bayes").sampler(), optuna.samplers.TPESampler)
    sweep = edited(early_terminate={"type": "hyperband", "min_iter": 3})
    assert sweep.rungs == (3, 3), "W&B's eta is 3 unless told otherwise"


def test_after_each_rung_the_best_go_on(edited: Callable[..., Any]) -> None:
    sweep = edited(early_terminate={"type": "hyperband", "min_iter": 2, "eta": 2})
    study = optuna.create_study(pruner=sweep.pruner(), direction=sweep.goal)
    ends = []
    for value in (4.0, 3.0, 5.0, 1.0):
        trial = study.ask()
        for n in range(1, 9):
            trial.report(value, n)
            if trial.should_prune():
                break
        ends.append(n)
    # 5 is not in the better half of 4, 3, 5; the others are the best so far after 2, 4 and 8.
    assert ends == [8, 8, 2, 8]


def test_lists_and_integers_are_written_as_an_agent_writes_them() -> None:
    assert distribution("betas", {"values": [[0.0, 0.9], [0.5, 0.99]]}) == CategoricalDistribution(
        ["[0.0, 0.9]", "[0.5, 0.99]"]
    )
    assert distribution("n", {"min": 1, "max": 3}) == IntDistribution(1, 3)


@pytest.fixture
def edited(tmp_path: Path) -> Callable[..., Any]:
    """Reads SWEEP with these keys changed; None takes one out."""

    def read(**changes: Any) -> Any:
        content = {key: value for key, value in {**SWEEP, **changes}.items() if value is not None}
        path = tmp_path / "sweep.yaml"
        path.write_text(yaml.safe_dump(content))
        return read_sweep(path)

    return read


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"parameters": None}, "is no sweep file, for it lacks parameters; configs/sweeps/gan.yaml is one"),
        ({"command": None}, "is no sweep file, for it lacks command"),
        ({"run_cap": 3}, "run_cap isn't known here"),
        ({"method": "grid"}, "method can't be grid here; write bayes or random"),
        ({"command": "twofold fit"}, "command is no list"),
        ({"command": ["python", "train.py", "${args}"]}, "command starts with python train.py; write twofold fit"),
        ({"command": ["twofold", "fit", "-c", "a"]}, "command holds ${args} 0 times; write it once"),
        ({"command": ["twofold", "fit", "${args}", "${args}"]}, "command holds ${args} 2 times; write it once"),
        ({"command": ["twofold", "fit", "${args_no_hyphens}", "${args}"]}, "${args_no_hyphens}, which isn't known"),
        ({"metric": "val/loss"}, "metric lacks a name"),
        ({"metric": {"name": "a", "goal": "smaller"}}, "metric.goal can't be smaller; write minimize or maximize"),
        ({"metric": {"name": "a", "target": 3}}, "metric.target isn't known here"),
        ({"early_terminate": {"type": "median"}}, "early_terminate's type is hyperband"),
        ({"early_terminate": {"type": "hyperband", "max_iter": 27}}, "early_terminate.max_iter isn't known here"),
        ({"early_terminate": {"type": "hyperband", "min_iter": 0}}, "early_terminate.min_iter can't be 0"),
        ({"early_terminate": {"type": "hyperband", "min_iter": 1, "eta": 1}}, "early_terminate.eta can't be 1"),
        ({"parameters": {}}, "parameters are empty"),
    ],
)
def test_files_that_optuna_cant_search_are_refused(edited: Callable[..., Any], changes: Any, told: str) -> None:
    with pytest.raises(UsageError) as refusal:
        edited(**changes)
    assert told in str(refusal.value)


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no sweep file"):
        read_sweep(tmp_path / "nowhere.yaml")
    with pytest.raises(UsageError, match="is no sweep file, for it lacks command"):
        read_sweep(ROOT / "configs" / "gan.yaml")
    (tmp_path / "torn.yaml").write_text("a: [1,\n b: }")
    with pytest.raises(UsageError, match="not YAML"):
        read_sweep(tmp_path / "torn.yaml")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (0.1, "a is 0.1; write { value: 0.1 }"),
        ({"parameters": {"lr": {"value": 1}}}, "write their whole names, such as a.lr"),
        (
            {"distribution": "normal", "mu": 0, "sigma": 1},
            "distribution normal can't be searched here; write values or",
        ),
        ({"distribution": "log_uniform", "min": -5, "max": 0}, "distribution log_uniform can't be searched here"),
        ({"distribution": "uniform", "min": 1.0}, "distribution uniform takes max, min; see max"),
        ({"distribution": "uniform", "min": 1.0, "max": 2.0, "q": 1}, "takes max, min; see q"),
        ({"min": 2, "max": 1}, "min is 2, above max, which is 1"),
        ({"min": "1e-4", "max": 1}, "min is 1e-4, which is text to YAML; write it with a point"),
        ({"min": "low", "max": 1}, "min is low; write a number"),
        ({"min": True, "max": 1}, "min is True; write a number"),
        ({"min": math.nan, "max": 1.0}, "min is nan; write a number"),
        ({"distribution": "log_uniform_values", "min": 0, "max": 1}, "min is 0, which has no logarithm"),
        ({"distribution": "int_uniform", "min": 0.5, "max": 1}, "write whole numbers, or distribution: uniform"),
        ({"distribution": "q_uniform", "min": 0, "max": 1, "q": 0}, "q is 0; write a number above 0"),
        ({"distribution": "q_uniform", "min": 0, "max": 10, "q": 3}, "max is 10, not so many times 3 above min, 0"),
        ({"values": 3}, "values is 3; write a list"),
        ({"values": []}, "values is []; write a list"),
        ({"values": [1, None]}, "write 'null'"),
        ({"values": [1], "min": 3}, "min doesn't go with values"),
        ({"value": 1, "max": 3}, "max doesn't go with values"),
    ],
)
def test_parameters_that_cant_be_searched_are_refused(said: Any, told: str) -> None:
    with pytest.raises(ValueError) as refusal:  # noqa: PT011
        distribution("a", said)
    assert told in str(refusal.value)
