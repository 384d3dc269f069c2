"""What a sweep leaves for people: a table, the best trial in words, a picture."""

import csv
from pathlib import Path

import optuna
import pytest
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState, create_trial

from scripts.plotting import panels
from scripts.search_space import Goal, Sweep
from scripts.sweep_results import draw, told, write

SPACE = {
    "lr": FloatDistribution(1e-4, 1.0, log=True),
    "loss": CategoricalDistribution(["hinge", "minimax"]),
    "fixed": CategoricalDistribution([3]),
}


def study(goal: Goal, *trials: tuple[str, float | None, float]) -> optuna.Study:
    """Trials of (state, value, lr)."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    made = optuna.create_study(direction=goal)
    for state, value, lr in trials:
        made.add_trial(
            create_trial(
                state=TrialState[state],
                value=value,
                params={"lr": lr, "loss": "hinge", "fixed": 3},
                distributions=SPACE,
                user_attrs={"batches": 10} | ({"complaint": "no luck"} if state == "FAIL" else {}),
            )
        )
    return made


TRIALS = (
    ("COMPLETE", 3.0, 0.1),
    ("FAIL", None, 0.2),
    ("PRUNED", 9.0, 0.3),
    ("COMPLETE", 2.0, 0.4),
    ("PRUNED", 1.0, 0.5),
)


@pytest.mark.parametrize(("goal", "order"), [("minimize", "30421"), ("maximize", "03241")])
def test_the_table_ranks_all_trials(tmp_path: Path, goal: Goal, order: str) -> None:
    write(study(goal, *TRIALS), "score", tmp_path / "s.csv")
    with (tmp_path / "s.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert "".join(row["trial"] for row in rows) == order
    assert rows[-1] == {
        "trial": "1",
        "state": "fail",
        "score": "",
        "batches": "10",
        "complaint": "no luck",
        "lr": "0.2",
        "loss": "hinge",
        "fixed": "3",
    }


def test_the_best_trial_is_told_as_a_command() -> None:
    sweep = Sweep(("fit", "-c", "a b.yaml", "${args}", "--x=1"), "score", "minimize", SPACE, "random", None)
    assert told(study("minimize", *TRIALS), sweep) == [
        "best is trial 3 with score 2:",
        "twofold fit -c 'a b.yaml' --lr=0.4 --loss=hinge --fixed=3 --x=1",
    ]
    assert told(study("minimize", TRIALS[1], TRIALS[2]), sweep) == ["no trial was trained to the end"]


def test_the_picture_shows_history_and_every_parameter_that_varies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[Figure] = []
    monkeypatch.setattr(plt, "close", kept.append)
    draw(study("minimize", *TRIALS), "score", tmp_path / "s.png")
    (figure,) = kept
    history, lr, loss = figure.axes
    assert [axis.get_xlabel() for axis in figure.axes] == ["trial", "lr", "loss"]
    complete, early = history.collections
    assert complete.get_offsets().tolist() == [[0, 3], [3, 2]]  # type: ignore[union-attr]
    assert early.get_offsets().tolist() == [[2, 9], [4, 1]]  # type: ignore[union-attr]
    assert history.lines[0].get_ydata().tolist() == [3, 2]  # type: ignore[union-attr]
    assert lr.get_xscale() == "log"
    assert lr.collections[0].get_offsets().tolist() == [[0.1, 3], [0.4, 2]]  # type: ignore[union-attr]
    assert [label.get_text() for label in loss.get_xticklabels()] == ["hinge", "minimax"]
    assert (tmp_path / "s.png").read_bytes()[:4] == b"\x89PNG"
    plt.close("all")


def test_a_sweep_of_failures_has_a_picture_too(tmp_path: Path) -> None:
    draw(study("maximize", TRIALS[1]), "score", tmp_path / "s.png")
    assert (tmp_path / "s.png").exists()


def test_panels_stand_side_by_side_or_in_rows() -> None:
    for number, per_row, rows, columns in ((3, None, 1, 3), (4, 3, 2, 3), (2, 3, 1, 2)):
        figure, axes = panels(number, per_row)
        assert len(axes) == number
        assert axes[0].get_gridspec().get_geometry() == (rows, columns)  # type: ignore[union-attr]
        assert [axis.axison for axis in figure.axes] == [True] * number + [False] * (rows * columns - number)
        plt.close(figure)
