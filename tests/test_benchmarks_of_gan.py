"""The GAN benchmarks on a small scale."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from benchmarks import gan
from benchmarks.results import Results
from callbacks.interpolation_strip import GENERATOR_FILE
from datamodules import MNISTDataModule
from networks.generator_files import save_generator
from networks.mlp_gan import MLPGenerator
from scripts.train_runs import Job
from twofold.tables import read_rows


def run(*arguments: str, out: Path) -> int:
    packaged = ("--root", str(out), "--source", "packaged", "--out", str(out))
    return gan.main([*arguments, *packaged])


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
    monkeypatch.setattr(gan, "evaluate", lambda *_: [{"classifier": name, "fid": 1.5} for name in ("a", "b")])
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
    assert run("long", "--batches", "7", "--seeds", "1", "2", out=tmp_path) == 0
    assert [job.settings[1] for job in trained] == ["7", "7"]
    assert len(read_rows(tmp_path / "gan_long.csv")) == 4
    assert (tmp_path / "gan_long.png").exists()


def test_packaged_digits_do_not_join_a_table_of_mnist(
    trained: list[Job], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"config": "gan_long", "batches": 5, "seed": 1, "classifier": "a", "data_source": "torchvision"}
    Results(tmp_path / "gan_long.csv", "config", "batches", "seed", "classifier").add(row)
    assert run("long", out=tmp_path) == 2
    assert "which don't compare with packaged" in capsys.readouterr().err
    assert not trained


def test_fid_is_averaged_over_draws_of_both_kinds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gan, "DRAWS", 2)
    data = MNISTDataModule(tmp_path, "packaged")
    data.setup()
    for row in gan.evaluate_draws(MLPGenerator().eval(), data):
        assert row["fid_min"] < row["fid"] < row["fid_max"]
        assert row["fid_real_min"] < row["fid_real"] < row["fid_real_max"]
        assert (row["draws"], row["real_draws"], row["fid_samples"]) == (2, 3, 1000)
        assert row["fid_over_real"] == row["fid"] / row["fid_real"] > 10


@pytest.mark.slow
def test_short_runs_with_fixes_are_trained_and_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setenv("TWOFOLD_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(gan, "FIXES", {name: gan.FIXES[name] for name in ("penalties", "mlp_conv")})
    assert run("fixes", "--batches", "40", out=tmp_path) == 0
    rows = read_rows(tmp_path / "gan_fixes.csv")
    assert [row["batch"] for row in rows] == 2 * ["10", "20", "30", "40"]
    assert all(torch.tensor(float(row["fid"])).isfinite() for row in rows)
    assert (tmp_path / "gan_mlp_conv.png").exists()
