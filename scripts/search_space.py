"""Sweep files of Weights & Biases, read so that Optuna searches the same space in the same way."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeGuard, get_args

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.pruners import BasePruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import Trial

from twofold.config_files import read_config
from twofold.errors import UsageError

EXAMPLE = "configs/sweeps/gan.yaml"
NEEDED = ("command", "method", "metric", "parameters")
KNOWN = (*NEEDED, "program", "early_terminate", "name", "description", "project", "entity")
METHODS = ("bayes", "random")
Goal = Literal["minimize", "maximize"]
ARGUMENTS = "${args}"
BOUNDS = {
    "uniform": {"min", "max"},
    "int_uniform": {"min", "max"},
    "log_uniform_values": {"min", "max"},
    "q_uniform": {"min", "max", "q"},
}
"""What each distribution that both sides know is given by."""


@dataclass(frozen=True)
class Sweep:
    """What a sweep file says.

    Attributes:
        command: what stands behind `twofold`, with `${args}` where the parameters go.
        metric: a column of the run's `metrics.csv`; a trial's value is the last one.
        goal: minimize or maximize.
        parameters: by their names on the command line, without the dashes.
        method: bayes (Optuna's TPE) or random.
        rungs: (n, η) when the worse trials end early: of those that have logged the metric n, n·η, n·η², … times, the
            best 1/η go on (asynchronous successive halving, arXiv 1810.05934, which W&B calls hyperband).
    """

    command: tuple[str, ...]
    metric: str
    goal: Goal
    parameters: Mapping[str, BaseDistribution]
    method: str
    rungs: tuple[int, int] | None

    def arguments(self, values: Mapping[str, Any]) -> list[str]:
        """What stands behind `twofold` for one trial, as an agent of W&B writes it."""
        written = [f"--{name}={value}" for name, value in values.items()]
        at = self.command.index(ARGUMENTS)
        return [*self.command[:at], *written, *self.command[at + 1 :]]

    def suggest(self, trial: Trial) -> dict[str, Any]:
        """The parameters' values in this trial; those that it has already stay."""
        return {name: _suggest(trial, name, distribution) for name, distribution in self.parameters.items()}

    def sampler(self) -> BaseSampler:
        return TPESampler(constant_liar=True) if self.method == "bayes" else RandomSampler()

    def pruner(self) -> BasePruner:
        if self.rungs is None:
            return NopPruner()
        first, factor = self.rungs
        return SuccessiveHalvingPruner(min_resource=first, reduction_factor=factor)


def read_sweep(path: Path) -> Sweep:
    """Reads a sweep file.

    Raises:
        UsageError: when there is none, or it says something that Optuna can't do in the same way.
    """
    if not path.is_file():
        raise UsageError(f"there is no sweep file {path}; `ls configs/sweeps` shows some")
    content = read_config(path)
    if missing := [key for key in NEEDED if key not in content]:
        raise UsageError(f"{path} is no sweep file, for it lacks {missing[0]}; {EXAMPLE} is one")
    if unknown := [key for key in content if key not in KNOWN]:
        raise UsageError(f"{path}: {unknown[0]} isn't known here; a sweep file says {', '.join(KNOWN)}")
    if content["method"] not in METHODS:
        raise UsageError(f"{path}: method can't be {content['method']} here; write {' or '.join(METHODS)}")
    try:
        return Sweep(
            command=_command(content["command"], content.get("program")),
            **_metric(content["metric"]),
            parameters=_parameters(content["parameters"]),
            method=content["method"],
            rungs=_rungs(content.get("early_terminate")),
        )
    except ValueError as error:
        raise UsageError(f"{path}: {error}") from error


def _command(command: Any, program: Any) -> tuple[str, ...]:
    if not isinstance(command, list):
        raise ValueError("command is no list; write one part on each line, as in " + EXAMPLE)
    parts = [str(part) for part in command]
    parts = parts[1:] if parts[:1] == ["${env}"] else parts
    parts = [str(program) if part == "${program}" else part for part in parts]
    if parts[:2] != ["twofold", "fit"]:
        raise ValueError(f"command starts with {' '.join(parts[:2])}; write twofold fit -c CONFIG … {ARGUMENTS}")
    if parts.count(ARGUMENTS) != 1:
        raise ValueError(f"command holds {ARGUMENTS} {parts.count(ARGUMENTS)} times; write it once, for the parameters")
    for part in parts:
        if part != ARGUMENTS and re.search(r"\$\{.*\}", part):
            raise ValueError(f"command holds {part}, which isn't known here; write {ARGUMENTS} for the parameters")
    return tuple(parts[1:])


def _metric(metric: Any) -> dict[str, Any]:
    if not isinstance(metric, dict) or not isinstance(metric.get("name"), str):
        raise ValueError("metric lacks a name; write such as metric: { name: quality/fid, goal: minimize }")
    goal = metric.get("goal", "minimize")
    if goal not in get_args(Goal):
        raise ValueError(f"metric.goal can't be {goal}; write {' or '.join(get_args(Goal))}")
    if surplus := metric.keys() - {"name", "goal"}:
        raise ValueError(f"metric.{min(surplus)} isn't known here; leave it out")
    return {"metric": metric["name"], "goal": goal}


def _rungs(early_terminate: Any) -> tuple[int, int] | None:
    if early_terminate is None:
        return None
    if not isinstance(early_terminate, dict) or early_terminate.get("type") != "hyperband":
        raise ValueError("early_terminate's type is hyperband; write { type: hyperband, min_iter: 2, eta: 2 }")
    if surplus := early_terminate.keys() - {"type", "min_iter", "eta"}:
        raise ValueError(f"early_terminate.{min(surplus)} isn't known here; write min_iter and eta")
    first, factor = early_terminate.get("min_iter"), early_terminate.get("eta", 3)
    if not _is_whole(first) or first < 1:
        raise ValueError(f"early_terminate.min_iter can't be {first}; write after how many logged values, 1 or more")
    if not _is_whole(factor) or factor < 2:
        raise ValueError(f"early_terminate.eta can't be {factor}; write 2 or more, of which the best one goes on")
    return first, factor


def _parameters(parameters: Any) -> dict[str, BaseDistribution]:
    if not isinstance(parameters, dict) or not parameters:
        raise ValueError("parameters are empty; write such as parameters: { model.r1: { values: [0.1, 1.0] } }")
    return {str(name): distribution(str(name), said) for name, said in parameters.items()}


def distribution(name: str, said: Any) -> BaseDistribution:
    """What Optuna draws a parameter from; integers, floats, texts and booleans stay what they are, a list becomes text.

    Args:
        name: the parameter's.
        said: what the sweep file says of it, such as `{"distribution": "uniform", "min": 0.0, "max": 1.0}`.

    Raises:
        ValueError: when the sides don't share such a distribution, or its bounds are none.
    """
    if not isinstance(said, dict):
        raise ValueError(f"{name} is {said}; write {{ value: {said} }}")
    if "parameters" in said:
        raise ValueError(f"{name} holds parameters of its own; write their whole names, such as {name}.lr")
    if "value" in said:
        return _choice(name, [said["value"]], said.keys() - {"value", "distribution"})
    if "values" in said:
        return _choice(name, said["values"], said.keys() - {"values", "distribution"})
    whole = _is_whole(said.get("min")) and _is_whole(said.get("max"))
    kind = said.get("distribution", "int_uniform" if whole else "uniform")
    if kind not in BOUNDS:
        raise ValueError(f"{name}: distribution {kind} can't be searched here; write values or {', '.join(BOUNDS)}")
    bounds = {"q": 1, **said} if kind == "q_uniform" else said
    if wrong := (bounds.keys() - {"distribution"}) ^ BOUNDS[kind]:
        raise ValueError(f"{name}: distribution {kind} takes {', '.join(sorted(BOUNDS[kind]))}; see {min(wrong)}")
    low, high, step = (_number(name, key, bounds.get(key, 1)) for key in ("min", "max", "q"))
    if low > high:
        raise ValueError(f"{name}: min is {low}, above max, which is {high}; write the smaller one first")
    if kind == "log_uniform_values" and low <= 0:
        raise ValueError(f"{name}: min is {low}, which has no logarithm; write a number above 0")
    if kind == "q_uniform" and step <= 0:
        raise ValueError(f"{name}: q is {step}; write a number above 0")
    if kind == "int_uniform" and not whole:
        raise ValueError(f"{name}: min is {low} and max is {high}; write whole numbers, or distribution: uniform")
    match kind:
        case "int_uniform":
            return IntDistribution(int(low), int(high))
        case "q_uniform":
            _refuse_odd_steps(name, low, high, step)
            if whole and isinstance(step, int):
                return IntDistribution(int(low), int(high), step=step)
            return FloatDistribution(low, high, step=step)
        case _:
            return FloatDistribution(low, high, log=kind == "log_uniform_values")


def _choice(name: str, values: Any, surplus: set[str]) -> CategoricalDistribution:
    if surplus:
        raise ValueError(f"{name}: {min(surplus)} doesn't go with values; leave it out")
    if not isinstance(values, list) or not values:
        raise ValueError(f"{name}: values is {values}; write a list, such as [1, 2]")
    if None in values:
        raise ValueError(f"{name}: null among values would become None on the command line; write 'null'")
    return CategoricalDistribution([value if isinstance(value, int | float | str) else str(value) for value in values])


def _number(name: str, key: str, given: Any) -> float:
    if isinstance(given, str) and re.fullmatch(r"[-+]?\d+e[-+]?\d+", given, re.IGNORECASE):
        raise ValueError(f"{name}: {key} is {given}, which is text to YAML; write it with a point, such as 1.0e-4")
    if isinstance(given, bool) or not isinstance(given, int | float) or not math.isfinite(given):
        raise ValueError(f"{name}: {key} is {given}; write a number")
    return given


def _refuse_odd_steps(name: str, low: float, high: float, step: float) -> None:
    steps = (high - low) / step
    if not math.isclose(steps, round(steps), abs_tol=1e-9):
        raise ValueError(f"{name}: max is {high}, not so many times {step} above min, {low}; write one that is")


def _is_whole(number: Any) -> TypeGuard[int]:
    return isinstance(number, int) and not isinstance(number, bool)


def _suggest(trial: Trial, name: str, distribution: BaseDistribution) -> Any:
    match distribution:
        case CategoricalDistribution(choices=choices):
            return trial.suggest_categorical(name, choices)
        case IntDistribution(low=low, high=high, step=step, log=log):
            return trial.suggest_int(name, low, high, step=step, log=log)
        case FloatDistribution(low=low, high=high, step=step, log=log):
            return trial.suggest_float(name, low, high, step=step, log=log)
    raise TypeError(f"{distribution} is none that `distribution` makes")
