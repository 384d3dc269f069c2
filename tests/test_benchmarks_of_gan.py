"""The benchmarks of the game on the smallest possible scale: that they measure what they say, not how much."""

import csv
import math
import re
import subprocess
from collections.abc import Callable, Mapping
from contextlib import closing
from functools import partial
from itertools import accumulate, pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType, SimpleNamespace
from typing import Any

import optuna
import pytest
import torch
from optuna.trial import TrialState

from benchmarks import (
    evaluation_share,
    evaluations,
    fid_draws,
    gan_finals,
    gan_fixes,
    gan_long,
    gan_recipes,
    gan_search,
    gan_speed,
    interleaved_timing,
)
from datamodules import MNISTDataModule
from networks.mlp_gan import MLPGenerator
from networks.registry import to_spec
from twofold.errors import UsageError


def rows(table: Path) -> list[dict[str, str]]:
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Something like a checkout of PyTorch-GAN, whose script prints a line every 5 ms, and 4 batches an epoch."""
    folder = tmp_path / "peer"
    script = folder / gan_speed.PEER_FILE
    script.parent.mkdir(parents=True)
    script.write_text(
        "import os, time\n"
        "assert os.listdir('../../data/mnist/MNIST/raw') == ['images.gz']\n"
        "print('Namespace()')\n"
        "for k in range(400):\n"
        "    print(f'[Epoch {k // 4}/200] [Batch {k % 4}/4] [D loss: 0.5] [G loss: 0.5]')\n"
        "    time.sleep(0.005)\n"
    )
    git = ["git", "-C", str(folder), "-c", "user.name=x", "-c", "user.email=x"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"]):
        subprocess.run([*git, *command], check=True)
    script.write_text("changed since")
    monkeypatch.setattr(gan_speed, "PEER_COMMIT", "HEAD")
    return folder


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    (folder / "MNIST" / "raw").mkdir(parents=True)
    (folder / "MNIST" / "raw" / "images.gz").write_bytes(b"")
    return folder


def test_the_peer_trains_as_it_was_at_the_commit_and_is_counted_by_its_lines(checkout: Path, raw: Path) -> None:
    with (
        TemporaryDirectory() as folder,
        closing(gan_speed.peer(Path(folder), gan_speed.peers_script(checkout), raw)) as peer,
    ):
        peer.warm_up(5)
        assert 0 < peer.turn(seconds=0.2) < 1 / 0.005
        with pytest.raises(SystemExit, match="a training ended after 400 batches"):
            peer.turn(seconds=5)


@pytest.mark.slow
def test_runs_and_the_bare_loop_train_when_it_is_their_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setattr(interleaved_timing, "FIRST", 10)
    monkeypatch.setattr(
        gan_speed, "batches_per_second", partial(interleaved_timing.batches_per_second, turns=1, seconds=1)
    )
    assert gan_speed.main(["--root", str(tmp_path), "--source", "packaged"], tmp_path / "speed.csv", rounds=2) == 0
    speeds = [float(row["median"]) for row in rows(tmp_path / "speed.csv") if row["what"] == "images per second"]
    assert len(speeds) == 4
    assert all(speed > 64 for speed in speeds)


@pytest.mark.parametrize("with_peer", [True, False])
def test_speeds_are_compared_within_rounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], with_peer: bool
) -> None:
    batches = {"twofold fit": [10.0, 30.0], "bare loop": [20.0, 30.0], "PyTorch-GAN": [5.0, 10.0]}

    def measured(trainings: Mapping[str, object], rounds: int) -> dict[str, list[float]]:
        return {name: batches.get(name, [1.0, 1.0])[:rounds] for name in trainings}

    monkeypatch.setattr(gan_speed, "batches_per_second", measured)
    monkeypatch.setattr(gan_speed, "peers_script", lambda _: b"")
    arguments = ["--source", "packaged", *(["--peer", "somewhere"] if with_peer else [])]
    assert gan_speed.main(arguments, tmp_path / "speed.csv", rounds=2) == 0
    printed = capsys.readouterr().out
    assert ("PyTorch-GAN's row is left out" in printed) == (not with_peer)
    ours = ["twofold fit", "twofold fit without W&B", "twofold fit in full precision", "bare loop"]
    names = ours + ["PyTorch-GAN"] * with_peer
    table = rows(tmp_path / "speed.csv")
    assert [row["who"] for row in table] == [name for name in names for _ in range(2)]
    assert [row["what"] for row in table] == ["images per second", "twofold fit / this"] * len(names)
    said = {(row["who"], row["what"]): float(row["median"]) for row in table}
    assert said["twofold fit", "images per second"] == 64 * 20
    assert said["twofold fit", "twofold fit / this"] == 1
    assert said["bare loop", "twofold fit / this"] == 0.75
    if with_peer:
        assert said["PyTorch-GAN", "twofold fit / this"] == 2.5


def test_every_start_of_the_search_is_a_game_that_can_be_built() -> None:
    for start in gan_search.STARTS:
        recipe = gan_search.suggest(optuna.trial.FixedTrial(start))
        gan = gan_search.game(recipe, steps=10)
        assert to_spec(gan.generator)["name"].lower().startswith(recipe["generator"])
        assert to_spec(gan.discriminator)["name"].lower().startswith(recipe["discriminator"])
        assert gan.hparams["loss"] == recipe["loss"]
        (optimizer, _), _ = gan.configure_optimizers()
        assert optimizer.param_groups[0]["lr"] == recipe["generator_lr"]


@pytest.fixture
def search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A search on the smallest scale, and its table."""
    for name, value in {
        "JOURNAL": tmp_path / "search.journal",
        "TRIED_OUT": 4,
        "ON_THE_WAY": 50,
        "AT_THE_END": 60,
    }.items():
        monkeypatch.setattr(gan_search, name, value)
    return tmp_path / "gan_search_0s.csv"


class InThisProcess:
    """A context of multiprocessing whose processes run when they are started."""

    class Process:
        exitcode = 0

        def __init__(self, target: Callable[..., None], args: tuple[Any, ...]) -> None:
            self.start = partial(target, *args)

        def join(self) -> None:
            pass


def test_a_search_trains_measures_and_goes_on(search: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gan_search, "get_context", lambda _: InThisProcess)
    monkeypatch.setattr(gan_search, "WORKERS", 1)
    monkeypatch.setattr(gan_search, "STARTS", gan_search.STARTS[:2])
    for trials in (1, 2):
        arguments = ["--seconds", "0", "--trials", str(trials), "--root", str(tmp_path), "--source", "packaged"]
        assert gan_search.main(arguments) == 0
        measured = rows(search)
        assert [row["state"] for row in measured] == ["complete"] * trials
    assert {row["generator"] for row in measured} == {"mlp", "brush"}
    for row in measured:
        assert int(row["batches"]) >= 1
        assert float(row["fid"]) > 100
        assert float(row["seconds"]) > 0
    monkeypatch.setattr(gan_search, "real_digits", lambda *_: SimpleNamespace(data_source="torchvision"))
    with pytest.raises(UsageError, match="is about data_source packaged, with which torchvision can't be compared"):
        gan_search.main(["--seconds", "0"])
    monkeypatch.setattr(gan_finals, "SECONDS", 0)
    recipes = gan_finals.best_recipes(1)
    assert [*recipes] == [int(measured[0]["trial"])]
    (recipe,) = recipes.values()
    assert recipe["generator"] == measured[0]["generator"]
    data = MNISTDataModule(tmp_path, "packaged")
    first, second = gan_finals.final(recipe, 1, 2, data)
    assert (first["classifier"], second["classifier"]) == ("digit_cnn", "digit_reader")
    assert first["fid"] > first["fid_real"] > 0


def test_trials_are_written_with_those_that_were_pruned_or_failed(search: Path) -> None:
    study = gan_search.open_study(0, optuna.samplers.RandomSampler(0))

    def run(trial: optuna.Trial) -> float:
        gan_search.suggest(trial)
        trial.set_user_attr("batches", 7 + trial.number)
        if trial.number == 0:
            raise ValueError("no number")
        if trial.number == 1:
            raise optuna.TrialPruned
        return 10.0 - trial.number

    study.optimize(run, 4, catch=ValueError, callbacks=[gan_search.write])
    table = rows(search)
    assert [(row["trial"], row["state"], row["fid"]) for row in table] == [
        ("3", "complete", "7.00"),
        ("2", "complete", "8.00"),
        ("0", "fail", ""),
        ("1", "pruned", ""),
    ]
    assert {row["batches"] for row in table} == {"7", "8", "9", "10"}
    assert all(row["loss"] for row in table)
    assert len(gan_search.open_study(0).trials) == 4  # a second search goes on from there


def test_a_trial_that_was_broken_off_with_its_search_is_tried_again(
    search: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gan_search, "get_context", lambda _: InThisProcess)
    monkeypatch.setattr(gan_search, "STARTS", ())
    monkeypatch.setattr(gan_search, "work", lambda *_: None)
    broken_off = gan_search.open_study(0, optuna.samplers.RandomSampler(0)).ask()
    gan_search.suggest(broken_off)
    for _ in range(2):
        assert gan_search.main(["--seconds", "0", "--source", "packaged"]) == 0
        first, again = gan_search.open_study(0).trials
        assert (first.state, again.state) == (TrialState.FAIL, TrialState.WAITING)
        assert again.system_attrs["fixed_params"] == broken_off.params
    assert [row["state"] for row in rows(search)] == ["fail"]


def test_quality_is_that_of_the_averaged_generator_and_images_that_are_no_numbers_have_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gan_search, "AT_THE_END", 50)
    monkeypatch.setattr(gan_search, "ON_THE_WAY", 50)
    data = MNISTDataModule(tmp_path, "packaged")
    data.setup()
    quality = gan_search.Quality(data)
    gan = gan_search.game(gan_search.suggest(optuna.trial.FixedTrial(gan_search.STARTS[0])), steps=10)
    assert gan.ema is not None
    value = quality(gan, 50)
    torch.nn.init.zeros_(gan.generator.layers[-2].weight)  # type: ignore[union-attr,index]
    assert quality(gan, 50) == value > 100
    for parameter in gan.ema.parameters():
        torch.nn.init.constant_(parameter, float("nan"))
    assert math.isnan(quality(gan, 50))


def test_recipes_are_trained_as_long_as_ours_judged_by_both_judges_and_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setenv("TWOFOLD_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(gan_recipes, "batches_per_second", lambda *_: {"gan": [160.0], "gan_template": [240.0]})
    arguments = ["--root", str(tmp_path), "--source", "packaged", "--batches", "10"]
    arguments += ["--seeds", "1", "--recipes", "gan_template"]
    assert gan_recipes.main(arguments, tmp_path) == 0
    assert [(row["recipe"], row["ms_per_batch"]) for row in rows(tmp_path / "gan_recipes_speed.csv")] == [
        ("gan_template", "4.167")
    ]
    measured = rows(tmp_path / "gan_recipes.csv")
    assert [(row["recipe"], row["seed"], row["classifier"]) for row in measured] == [
        ("gan_template", "1", "digit_cnn"),
        ("gan_template", "1", "digit_reader"),
    ]
    for row in measured:
        assert (row["batches_of_gan"], row["batches"]) == ("10", "15")
        assert float(row["fid"]) > float(row["fid_real"]) > 0
        assert row["fid_samples"] == "1000"
    assert (tmp_path / "gan_recipes" / "gan_template.png").read_bytes().startswith(b"\x89PNG")
    before = (tmp_path / "gan_recipes.csv").stat().st_mtime_ns
    assert gan_recipes.main(arguments, tmp_path) == 0
    assert (tmp_path / "gan_recipes.csv").stat().st_mtime_ns == before


def test_the_long_recipe_is_trained_and_judged_once_a_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setenv("TWOFOLD_RUNS", str(tmp_path / "runs"))
    arguments = ["--root", str(tmp_path), "--source", "packaged", "--batches", "6", "--seeds"]
    assert gan_long.main([*arguments, "1"], tmp_path) == 0
    assert gan_long.main([*arguments, "1", "2"], tmp_path) == 0
    measured = rows(tmp_path / "gan_long.csv")
    classifiers = ("digit_cnn", "digit_reader")
    assert [(row["seed"], row["classifier"]) for row in measured] == [
        (seed, classifier) for seed in "12" for classifier in classifiers
    ]
    assert {row["batches"] for row in measured} == {"6"}
    picture = (tmp_path / "gan_long.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert gan_long.main([*arguments, "1", "--config", "gan"], tmp_path) == 0
    assert [row["config"] for row in rows(tmp_path / "gan_long.csv")] == ["gan_long"] * 4 + ["gan"] * 2
    assert (tmp_path / "gan_long.png").read_bytes() == picture
    for config in tmp_path.glob("runs/gan_long/*/*/*/config.yaml"):
        assert config.read_text().count("total_iters: 6\n") == 2
    assert len(list(tmp_path.glob("runs/gan_long/gan_long_6_[12]"))) == 2
    assert len(list(tmp_path.glob("runs/gan_long/gan_6_1"))) == 1


def test_looks_of_the_judge_cost_what_they_make_batches_take_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def played(runs: str, *arguments: object) -> None:
        assert "6050" in map(str, arguments)
        (folder := Path(runs) / "gan" / "a").mkdir(parents=True)
        slow = {1999: 110.0, 3999: 30.0, 5999: 34.0}  # milliseconds; the other batches take 10
        steps = range(49, 6050, 50)
        seconds = accumulate(50 * slow.get(step, 10) / 1000 for step in steps)
        times = [f"{step},{passed}" for step, passed in zip(steps, seconds, strict=True)]
        (folder / "timing.csv").write_text("\n".join(["step,time/seconds", *times]) + "\n")

    monkeypatch.setattr(evaluation_share, "twofold", played)
    table = tmp_path / "evaluation_share.csv"
    assert evaluation_share.main(["--root", str(tmp_path), "--source", "packaged"], table) == 0
    ours, long, textbook = rows(table)
    assert (ours["config"], ours["every"], ours["ms_per_batch"]) == ("gan", "2000", "10")
    assert (ours["first_look_seconds"], ours["look_seconds"]) == ("5", "1.1")
    looks = 5 + 12 * 1.1  # in 27,500 batches
    assert float(ours["share_of_run"]) == pytest.approx(looks / (looks + 275), rel=1e-3)
    assert float(ours["share_of_run"]) > float(long["share_of_run"]) > float(textbook["share_of_run"])


def test_fid_of_many_draws_and_the_floor_of_all_there_is(tmp_path: Path, digit_painter: MLPGenerator) -> None:
    data = MNISTDataModule(tmp_path, "packaged")
    data.setup()
    measured = fid_draws.draws_of(2, digit_painter, data)
    for row, first in zip(measured, evaluations.verdicts(digit_painter, data), strict=True):
        assert (row["classifier"], row["fid_samples"], row["draws"]) == (first["classifier"], 1000, 2)
        assert row["floors"] == 3  # sets of 1,000 of 3,500 training images
        assert row["fid"] == pytest.approx((row["lowest"] + row["highest"]) / 2)
        assert pytest.approx(first["fid"]) in (row["lowest"], row["highest"])
        assert row["deviation"] == pytest.approx((row["highest"] - row["lowest"]) / 2**0.5)
        assert row["lowest_floor"] < row["fid_real"] < row["highest_floor"] < row["lowest"]
        assert row["lowest_floor"] <= first["fid_real"] <= row["highest_floor"]
        assert row["fid_over_real"] == pytest.approx(row["fid"] / row["fid_real"])


def test_games_whose_draws_are_measured_are_trained_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setenv("TWOFOLD_RUNS", str(tmp_path / "runs"))
    table = tmp_path / "fid_draws.csv"
    arguments = ["--root", str(tmp_path), "--source", "packaged", "--seeds", "1", "--draws", "2"]
    assert fid_draws.main(arguments, table, batches=4) == 0
    assert [(row["config"], row["batches"], row["seed"], row["classifier"]) for row in rows(table)] == [
        (config, "4", "1", classifier) for config in ("gan", "gan_long") for classifier in ("digit_cnn", "digit_reader")
    ]
    assert (tmp_path / "runs" / "gan_recipes" / "gan_4_1" / "job.json").is_file()
    assert (tmp_path / "runs" / "gan_long" / "gan_long_4_1" / "job.json").is_file()
    before = table.stat().st_mtime_ns
    assert fid_draws.main(arguments, table, batches=4) == 0
    assert table.stat().st_mtime_ns == before
    with pytest.raises(UsageError, match="about draws 2, with which 3 can't be compared"):
        fid_draws.main([*arguments[:-1], "3"], table, batches=4)
    with pytest.raises(UsageError, match="--draws is 1; write 2 or more"):
        fid_draws.main([*arguments[:-1], "1"], table)


def test_a_recipe_s_speed_is_that_of_its_median_round_beside_one_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds = {"gan": [50.0, 90.0, 100.0], "dcgan": [45.0, 10.0, 60.0]}

    def measured(trainings: Mapping[str, object], _: int) -> dict[str, list[float]]:
        return {name: rounds[name] for name in trainings}

    monkeypatch.setattr(gan_recipes, "batches_per_second", measured)
    for _ in range(2):  # the second time from the table
        assert gan_recipes.speeds(["dcgan"], (), tmp_path / "speed.csv") == {"dcgan": pytest.approx(0.5, rel=1e-3)}


def test_remedies_are_played_one_after_the_other_and_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setenv("TWOFOLD_RUNS", str(tmp_path / "runs"))
    first, second = gan_fixes.REMEDIES[0], gan_fixes.REMEDIES[-1]
    table, arguments = tmp_path / "remedies.csv", ["--source", "packaged", "--batches", "40", "--seed", "3"]
    for remedies in ((first,), (first, second)):
        monkeypatch.setattr(gan_fixes, "REMEDIES", remedies)
        assert gan_fixes.main(arguments, table, tmp_path) == 0
        assert [(row["remedy"], row["batch"]) for row in rows(table)] == [
            (remedy.name, batch) for remedy in remedies for batch in ("10", "20", "30", "40")
        ]
        printed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
        assert [line.split(" | ")[0] for line in printed[2:]] == [f"| {remedy.words}" for remedy in remedies]
    with pytest.raises(UsageError, match="is about seed 3, with which 4 can't be compared; move it away first"):
        gan_fixes.main([*arguments[:-1], "4"], table, tmp_path)
    with pytest.raises(UsageError, match="--batches is 39; write 40 or more"):
        gan_fixes.main(["--batches", "39"], table, tmp_path)
    for row in rows(table):
        assert (row["seed"], row["data_source"], row["samples"]) == ("3", "packaged", "500")
        assert float(row["fid"]) > float(row["fid_real"]) > 0
        assert 0 <= float(row["d_accuracy_fake"]) <= 1
    assert len(list(tmp_path.glob("runs/gan_fixes/*/*/*/mnist_generator.pth"))) == 2
    assert {path.name for path in tmp_path.glob("*.png")} == {"gan_textbook.png", "gan_brushes.png"}


def test_each_remedy_is_one_more_than_the_last() -> None:
    *of_the_textbook, other = gan_fixes.REMEDIES
    for before, after in pairwise(of_the_textbook):
        assert after.settings[: len(before.settings)] == before.settings
        assert len(after.settings) > len(before.settings)
    assert other.config == "gan"
    rates = [value for value in gan_fixes.command(other, 40, 1) if "total_iters" in value]
    assert len(rates) == 2


def test_an_evaluation_counts_the_discriminator_s_errors_since_the_last_one() -> None:
    shares = {f"quality/class_{digit}": str(digit / 45) for digit in range(10)}
    nothing = dict.fromkeys(["train/d_loss", "train/d_accuracy_real", "train/d_accuracy_fake", "quality/fid"], "")
    quality = {"quality/fid": "50.04", "quality/fid_real": "3", "quality/fid_samples": "2000.0", **shares}

    def heard(step: int, share: float) -> dict[str, str]:
        told = {"train/d_loss": "1", "train/d_accuracy_real": str(share), "train/d_accuracy_fake": "0"}
        return {**nothing, "step": str(step), **told}

    metrics = [heard(9, 0.2), {**nothing, **quality, "step": "19"}, heard(19, 0.4), heard(29, 0.9)]
    metrics.append({**nothing, **quality, "step": "29"})
    first, second = gan_fixes.evaluations(metrics)
    assert (first["batch"], first["fid"], first["samples"]) == (20, "50.0", 2000)
    assert (first["d_accuracy_real"], second["d_accuracy_real"]) == ("0.300", "0.900")
    assert first["alive"] == "1 2 3 4 5 6 7 8 9"


@pytest.mark.parametrize(
    "benchmark",
    [evaluation_share, gan_finals, gan_long, gan_recipes, gan_fixes, gan_search, gan_speed],
    ids=lambda m: m.__name__,
)
def test_a_benchmark_without_digits_ends_before_anything_begins(
    benchmark: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_download: None
) -> None:
    monkeypatch.setattr(subprocess, "Popen", None)
    monkeypatch.setenv("TWOFOLD_RUNS", str(tmp_path / "runs"))
    with pytest.raises(UsageError, match=re.escape(f"can't download MNIST to {tmp_path}")):
        benchmark.main(["--root", str(tmp_path)])
    assert list(tmp_path.iterdir()) == []
