"""Learning rates that change over another number of batches than the run has."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from twofold.provenance import CONFIGS
from twofold.schedules import end_with_the_run, of_another_length


def config(max_steps: int, **init_args: object) -> dict[str, Any]:
    scheduler = {"class_path": "torch.optim.lr_scheduler.LinearLR", "init_args": init_args}
    return {"model": {"init_args": {"generator_lr_scheduler": scheduler}}, "trainer": {"max_steps": max_steps}}


def test_a_schedule_as_long_as_the_run_ends_with_it() -> None:
    assert end_with_the_run(config(500, total_iters=500))
    assert of_another_length(config(500, total_iters=500)) == []


@pytest.mark.parametrize("name", ["total_iters", "total_steps", "T_max"])
@pytest.mark.parametrize(
    ("max_steps", "told"),
    [(1000, "1,000, so their schedule is over before the run is"), (125, "125, so rates get 25% of their way")],
)
def test_a_schedule_of_another_length_is_told(name: str, max_steps: int, told: str) -> None:
    asked = config(max_steps, **{name: 500})
    assert not end_with_the_run(asked)
    assert of_another_length(asked) == [
        f"--model.generator_lr_scheduler.{name} say 500 batches and --trainer.max_steps {told}"
    ]


def test_both_players_schedules_are_told_in_one_line() -> None:
    asked = config(125, total_iters=500)
    asked["model"]["init_args"]["discriminator_lr_scheduler"] = {"init_args": {"total_iters": 500}}
    [line] = of_another_length(asked)
    assert line.startswith(
        "--model.generator_lr_scheduler.total_iters and --model.discriminator_lr_scheduler.total_iters say 500 batches"
    )


@pytest.mark.parametrize("init_args", [{"start_factor": 500}, {"step_size": 7}, {"total_iters": None}])
def test_what_is_no_length_is_none(init_args: dict[str, object]) -> None:
    assert not end_with_the_run(config(500, **init_args))
    assert of_another_length(config(400, **init_args)) == []


def test_a_run_without_a_limit_is_as_long_as_any() -> None:
    assert of_another_length(config(-1, total_iters=500)) == []


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_schedules_of_shipped_configs_are_as_long_as_their_runs(path: Path) -> None:
    shipped = yaml.safe_load(path.read_text())
    if "model" in shipped:
        assert of_another_length(shipped) == []


def test_the_long_game_is_the_short_one_but_for_its_length_widths_and_rates() -> None:
    """Every value stands in both files, for a config has no parts that another could take over."""
    short, long = (yaml.safe_load((CONFIGS / f"{name}.yaml").read_text()) for name in ("gan", "gan_long"))
    for game in (short, long):
        steps = game["trainer"].pop("max_steps")
        schedules = [
            game["model"]["init_args"][f"{network}_lr_scheduler"] for network in ("generator", "discriminator")
        ]
        assert schedules[0] == schedules[1]
        assert schedules[0]["init_args"].pop("total_iters") == steps
        (grid,) = (one for one in game["trainer"]["callbacks"] if one["class_path"].endswith("ImageGrid"))
        del grid["init_args"]["every_n_batches"]
        del game["experiment"]
        for network in ("generator", "discriminator"):
            game["model"]["init_args"][network].pop("init_args", None)
            del game["model"]["init_args"][f"{network}_optimizer"]["init_args"]["lr"]
    assert short == long
