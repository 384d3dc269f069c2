"""What came of a sweep: a table of all trials, a picture, and the best trial in words."""

import math
import shlex
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

import optuna
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, NullFormatter
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from common.files import replacing
from scripts.plotting import panels
from scripts.search_space import Sweep
from twofold.tables import write_rows

LOOKS = {TrialState.COMPLETE: ("C0", "trained to the end"), TrialState.PRUNED: ("0.7", "ended early")}


def write(study: optuna.Study, metric: str, table: Path) -> None:
    """Every trial that has ended as a row, the best first; failed ones last."""
    rows = [
        {
            "trial": trial.number,
            "state": trial.state.name.lower(),
            metric: "" if trial.value is None else trial.value,
            **trial.user_attrs,
            **trial.params,
        }
        for trial in _ranked(study)
    ]
    columns = dict.fromkeys(name for row in rows for name in row)
    write_rows(table, list(columns), rows)


def told(study: optuna.Study, sweep: Sweep) -> list[str]:
    """Which trial was best, and the command that trains it."""
    complete = [trial for trial in _ranked(study) if trial.state == TrialState.COMPLETE]
    if not complete:
        return ["no trial was trained to the end"]
    best = complete[0]
    command = shlex.join(["twofold", *sweep.arguments(best.params)])
    return [f"best is trial {best.number} with {sweep.metric} {best.value:.4g}:", command]


def draw(study: optuna.Study, metric: str, path: Path) -> None:
    """The trials one after the other, and the metric against each parameter that has more than one value."""
    ended = [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]
    drawn = {name: how for trial in ended for name, how in trial.distributions.items() if not how.single()}
    figure, (history, *others) = panels(1 + len(drawn), per_row=3)
    _draw_history(history, ended, study.direction, metric)
    for axis, (name, how) in zip(others, drawn.items(), strict=True):
        _draw_parameter(axis, ended, name, how)
        axis.set(xlabel=name, ylabel=metric)
    values = [trial.value for trial in ended if trial.value is not None]
    if values and min(values) > 0 and max(values) > 10 * min(values):
        for axis in (history, *others):
            axis.set_yscale("log")
    figure.legend(*history.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    with replacing(path) as draft:
        figure.savefig(draft, format="png", dpi=130)
    plt.close(figure)


def _draw_history(axis: Axes, trials: Sequence[FrozenTrial], direction: StudyDirection, metric: str) -> None:
    for state, (color, label) in LOOKS.items():
        points = [(trial.number, trial.value) for trial in trials if trial.state == state and trial.value is not None]
        axis.scatter(*_xy(points), color=color, label=label, s=16)
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    if complete:
        better = max if direction == StudyDirection.MAXIMIZE else min
        best = list(accumulate((trial.value or 0.0 for trial in complete), better))
        axis.step([trial.number for trial in complete], best, where="post", color="C1", label="best so far")
    for n, trial in enumerate(trial for trial in trials if trial.state == TrialState.FAIL):
        axis.axvline(trial.number, color="C3", linewidth=0.8, linestyle=":", label="" if n else "failed")
    axis.set(xlabel="trial", ylabel=metric)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))


def _draw_parameter(axis: Axes, trials: Sequence[FrozenTrial], name: str, how: BaseDistribution) -> None:
    place = how.choices.index if isinstance(how, CategoricalDistribution) else float
    ours = [trial for trial in trials if name in trial.params]
    for state, (color, _) in LOOKS.items():
        of_state = [(trial.params[name], trial.value) for trial in ours if trial.state == state]
        points = [(float(place(x)), value) for x, value in of_state if value is not None]
        axis.scatter(*_xy(points), color=color, s=16, clip_on=False)
    if isinstance(how, CategoricalDistribution):
        axis.set_xticks(range(len(how.choices)), [str(choice) for choice in how.choices], fontsize=8)
        axis.set_xlim(-0.5, len(how.choices) - 0.5)
    elif isinstance(how, FloatDistribution | IntDistribution):
        if how.log:
            axis.set_xscale("log")
            axis.xaxis.set_minor_formatter(NullFormatter())  # 3 × 10⁻³ beside 4 × 10⁻³ can't be read
        axis.set_xlim(how.low, how.high)  # all that was searched


def _xy(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]


def _ranked(study: optuna.Study) -> list[FrozenTrial]:
    """Trials that have ended: those trained to the end from the best on, those ended early, those that failed."""
    ended = [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]
    order = [TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL]
    sign = -1 if study.direction == StudyDirection.MAXIMIZE else 1
    worst = math.inf
    return sorted(
        ended,
        key=lambda one: (order.index(one.state), worst if one.value is None else sign * one.value, one.number),
    )
