"""The GAN benchmarks on a small scale."""

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks import gan, gan_baselines
from benchmarks.results import RESULTS, Results
from callbacks.interpolation_strip import GENERATOR_FILE
from datamodules import MNISTDataModule
from metrics.features import CLASSIFIERS
from networks.generator_files import save_generator
from networks.mlp_gan import MLPGenerator
from scripts.digits import open_digits
from scripts.train_runs import Job
from twofold.tables import grouped, read_rows


def run(*arguments: str, out: Path) -> int:
    packaged = ("--root", str(out), "--source", "packaged", "--out", str(out))
    return gan.main([*arguments, *packaged])


def _evaluated(*_: object) -> list[dict[str, object]]:
    return [{"classifier": name, "fid": 1.5, "fid_draws": gan.DRAWS} for name in ("a", "b")]


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """The jobs that were trained, by a stand-in that saves an untrained generator."""
    jobs: list[Job] = []

    def train(new: Sequence[Job], folder: Path) -> dict[str, SimpleNamespace]:
        jobs.extend(new)
        for job in new:
            path = tmp_path / job.name
            path.mkdir(exist_ok=True)
            save_generator(MLPGenerator(), path / GENERATOR_FILE, weights="raw", step=1, data_source="packaged")
        return {job.name: SimpleNamespace(path=tmp_path / job.name) for job in new}

    monkeypatch.setattr(gan, "train", train)
    monkeypatch.setattr(gan, "evaluate", _evaluated)
    return jobs


def test_recipes_train_as_long_as_gan_and_only_once(
    trained: list[Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gan, "batches_per_second", lambda *_: {"gan": [160.0], "gan_template": [240.0]})
    arguments = ("recipes", "--batches", "10", "--seeds", "1", "--recipes", "gan", "gan_template")
    for _ in range(2):
        assert run(*arguments, out=tmp_path) == 0
        rows = read_rows(tmp_path / "gan_recipes.csv")
        evaluated = [(row["config"], row["batches"], row["classifier"]) for row in rows]
        assert evaluated == [(*run, name) for run in (("gan", "10"), ("gan_template", "15")) for name in "ab"]
        assert {row["data_source"] for row in rows} == {"packaged"}
    assert [job.name for job in trained] == ["gan_10_1", "gan_template_15_1"]
    assert (tmp_path / "gan_recipes" / "gan_template.png").exists()
    assert read_rows(tmp_path / "gan_recipes_speed.csv")[1]["ms_per_batch"] == "4.167"


def test_a_longer_training_is_drawn(trained: list[Job], tmp_path: Path) -> None:
    assert run("long", "--batches", "7", "--seeds", "2", out=tmp_path) == 0
    assert not (tmp_path / "gan_long.png").exists()
    assert run("long", "--batches", "7", "--seeds", "1", "2", out=tmp_path) == 0
    assert [job.settings[1] for job in trained] == ["7", "7"]
    assert len(read_rows(tmp_path / "gan_long.csv")) == 4
    assert (tmp_path / "gan_long.png").exists()


def test_baselines_train_with_their_best_beta(
    trained: list[Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["--root", str(tmp_path), "--source", "packaged", "--out", str(tmp_path), "--configs", "dcgan"]
    assert gan_baselines.main(["betas", *arguments]) == 2  # how long the recipe trains isn't known yet
    recipe = {"config": "dcgan", "batches_of_gan": 10, "batches": 40, "seed": 1, "classifier": "digit_cnn"}
    Results(tmp_path / "gan_recipes.csv", "config", "seed", "classifier").add(recipe)
    assert gan_baselines.main(["tuned", *arguments]) == 2  # the best β₁ isn't known yet
    fids = iter([3.0, 1.0, 2.0, 1.0, 1.0, 1.0])

    def evaluated(generator: object, data: object, reference: str, draws: int) -> list[dict[str, object]]:
        return [{"classifier": "digit_cnn", "fid": next(fids), "fid_draws": draws}]

    monkeypatch.setattr(gan, "evaluate", evaluated)
    for _ in range(2):
        assert gan_baselines.main(arguments) == 0
    betas = [job.settings[-1] for job in trained]
    assert betas == ["[0.0, 0.999]", "[0.5, 0.999]", "[0.9, 0.999]", *3 * ["[0.5, 0.999]"]]
    assert [job.settings[1] for job in trained] == ["10"] * 3 + ["40"] * 3
    assert all("--model.ema_decay" in job.settings for job in trained)
    assert [row["seed"] for row in read_rows(tmp_path / "gan_tuned.csv")] == ["1", "2", "3"]


def test_little_data_are_measured_with_and_without_shifts(trained: list[Job], tmp_path: Path) -> None:
    for _ in range(2):
        assert run("little", "--batches", "7", "--seeds", "1", out=tmp_path) == 0
    rows = read_rows(tmp_path / "gan_little.csv")
    assert {(row["max_shift"], row["reference"]) for row in rows} == set(product("0124", ("validation", "test")))
    assert len(rows) == 16
    assert {job.settings[-2:] for job in trained} == {("--model.diffaugment_translation", shift) for shift in "0124"}
    assert all(job.settings[4:6] == ("--data.source", "packaged") for job in trained)


def test_held_out_images_that_others_know_are_left_out(tmp_path: Path) -> None:
    packaged = open_digits(tmp_path, "packaged")
    images, rows = packaged.splits.images, packaged.splits.validation
    less = gan.without_held_out(packaged, images[rows[:30]])
    assert less.splits.validation.tolist() == rows[30:].tolist()
    assert less.splits.train is packaged.splits.train
    assert packaged.splits.validation is rows


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"data_source": "torchvision", "fid_draws": 10}, "data_source torchvision, which don't compare with packaged"),
        ({"data_source": "packaged"}, "fid_draws None, which don't compare with 10"),
        ({"data_source": "packaged", "fid_draws": 1}, "fid_draws 1, which don't compare with 10"),
    ],
)
def test_rows_measured_otherwise_are_refused(
    columns: dict[str, object],
    words: str,
    trained: list[Job],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    row = {"config": "gan_long", "batches": 5, "seed": 1, "classifier": "a", **columns}
    Results(tmp_path / "gan_long.csv", "config", "batches", "seed", "classifier").add(row)
    assert run("long", out=tmp_path) == 2
    assert words in capsys.readouterr().err
    assert not trained


@pytest.mark.usefixtures("_without_kid")
def test_a_generator_is_evaluated_by_the_protocol(tmp_path: Path) -> None:
    data = MNISTDataModule(tmp_path, "packaged")
    data.setup()
    rows = gan.evaluate(MLPGenerator().eval(), data, draws=2)
    assert [row["classifier"] for row in rows] == ["digit_cnn", "digit_reader"]
    for row in rows:
        assert (row["fid_draws"], row["fid_real_sets"], row["fid_samples"]) == (2, 3, 1000)
        assert row["fid_over_real"] == row["fid"] / row["fid_real"] > 10
        assert row["recall"] < 0.1 < 0.7 < row["recall_real"]


@pytest.fixture
def _without_kid(monkeypatch: pytest.MonkeyPatch) -> None:
    """KID takes seconds for each set of images."""
    monkeypatch.setattr("metrics.evaluate.kernel_distance", lambda *_: 0.0)


def assert_ranked(rows: list[dict[str, str]]) -> None:
    """The more images are degraded, the worse their numbers are, by each classifier."""
    for classifier in CLASSIFIERS:
        by_kind = grouped([row for row in rows if row["classifier"] == classifier], lambda row: row["degradation"])
        real = by_kind.pop("none")
        assert [*by_kind] == ["blurred", "classes dropped", "duplicated"]
        for kind, degraded in by_kind.items():
            fid, recall, modes = (
                [float(row[name]) for row in (*real, *degraded)] for name in ("fid", "recall", "modes_covered")
            )
            assert fid == sorted(fid), (classifier, kind)
            assert 2 * fid[0] < fid[2]
            if kind != "blurred":
                assert recall == sorted(recall, reverse=True), (classifier, kind)
            if kind != "duplicated":  # ten images need not show all digits
                assert modes == ([10, 9, 5] if kind == "classes dropped" else [10, 10, 10])


@pytest.mark.usefixtures("_without_kid")
def test_classifiers_rank_degraded_real_images(tmp_path: Path) -> None:
    assert run("classifiers", out=tmp_path) == 0
    assert_ranked(read_rows(tmp_path / "classifier_checks.csv"))


def test_classifiers_rank_degraded_images_of_mnist() -> None:
    rows = read_rows(RESULTS / "classifier_checks.csv")
    assert {(row["data_source"], row["fid_samples"]) for row in rows} == {("torchvision", "10000")}
    assert_ranked(rows)


@pytest.mark.slow
def test_trainings_are_real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setenv("TWOFOLD_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(gan, "SHIFTS", (0, 2))
    assert run("little", "--batches", "20", "--seeds", "1", out=tmp_path) == 0
    rows = read_rows(tmp_path / "gan_little.csv")
    assert len(rows) == 8
    assert len({row["fid"] for row in rows}) == 8
