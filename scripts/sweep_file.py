"""Reads the sweep files of Weights & Biases, so that Optuna searches the same space in the same way."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.pruners import BasePruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler

from twofold.errors import UsageError, one_line

ARGUMENTS = "${args}"


@dataclass(frozen=True)
class Sweep:
    """The content of a sweep file.

    Attributes:
        command: arguments of `twofold`; the parameters take the place of `${args}`.
        metric: a column of `metrics.csv`. The value of a trial is the last one.
        goal: minimize or maximize.
        parameters: distribution of each setting.
        sampler: TPE for method "bayes", uniform for "random".
        pruner: asynchronous successive halving (arXiv 1810.05934) for "hyperband": of the trials that have logged the
            metric min_iter, min_iter · eta, min_iter · eta², … times, the best 1/eta continue.
    """

    command: list[str]
    metric: str
    goal: Literal["minimize", "maximize"]
    parameters: dict[str, BaseDistribution]
    sampler: BaseSampler
    pruner: BasePruner

    def arguments(self, values: Mapping[str, Any]) -> list[str]:
        """The arguments of `twofold` for a trial with these values."""
        at = self.command.index(ARGUMENTS)
        return [*self.command[:at], *(f"--{name}={value}" for name, value in values.items()), *self.command[at + 1 :]]

    @property
    def settings(self) -> dict[str, str]:
        """What all trials of a study must have in common."""
        space = ", ".join(f"{name}: {distribution}" for name, distribution in self.parameters.items())
        return {"command": shlex.join(self.command), "metric": self.metric, "goal": self.goal, "space": space}


def read_sweep(path: Path, more: Sequence[str] = ()) -> Sweep:
    """Reads a W&B sweep file.

    Args:
        more: further arguments for every trial.

    Raises:
        UsageError: when it isn't a sweep file or uses what Optuna can't do.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        if missing := {"command", "method", "metric", "parameters"} - set(content):
            raise ValueError(f"it lacks {min(missing)}; see configs/sweeps/gan.yaml")
        command = [str(part) for part in content["command"]]
        if "fit" not in command or command.count(ARGUMENTS) != 1:
            raise ValueError(f"its command must hold fit, and {ARGUMENTS} once")
        if content["metric"].get("goal") not in ("minimize", "maximize"):
            raise ValueError("metric.goal must be minimize or maximize")
        samplers = {"bayes": TPESampler(constant_liar=True), "random": RandomSampler()}
        if content["method"] not in samplers:
            raise ValueError(f"method can't be {content['method']}; write bayes or random")
        return Sweep(
            command=[*command[command.index("fit") :], *more],
            metric=content["metric"]["name"],
            goal=content["metric"]["goal"],
            parameters={name: distribution(name, spec) for name, spec in content["parameters"].items()},
            sampler=samplers[content["method"]],
            pruner=_pruner(content.get("early_terminate")),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise UsageError(f"can't read the sweep file {path}: {one_line(error)}") from error


def distribution(name: str, spec: Any) -> BaseDistribution:
    """Optuna's distribution of a parameter of a sweep file.

    Raises:
        ValueError: when Optuna has none like it, or its bounds are wrong.
    """
    match spec:
        case {"value": value}:
            return CategoricalDistribution([value])
        case {"values": [_, *_] as values}:
            return CategoricalDistribution(values)
        case {"min": low, "max": high, **rest}:
            kind = rest.get("distribution", "")
            integers = isinstance(low, int) and isinstance(high, int) and kind in ("", "int_uniform", "q_uniform")
            step: Any = rest.get("q", 1)
            if integers and isinstance(step, int):
                return IntDistribution(low, high, step=step)
            if kind in ("", "uniform", "log_uniform_values"):
                return FloatDistribution(float(low), float(high), log=kind == "log_uniform_values")
            if kind == "q_uniform":
                return FloatDistribution(float(low), float(high), step=float(step))
    kinds = "uniform, int_uniform (between integers), log_uniform_values or q_uniform"
    raise ValueError(f"{name} can't be {spec}; write value, values, or min and max with distribution {kinds}")


def _pruner(early_terminate: Any) -> BasePruner:
    match early_terminate:
        case None:
            return NopPruner()
        case {"type": "hyperband", "min_iter": int(first), "eta": int(factor)}:
            return SuccessiveHalvingPruner(min_resource=first, reduction_factor=factor)
    raise ValueError("early_terminate is not like { type: hyperband, min_iter: 2, eta: 2 }")
