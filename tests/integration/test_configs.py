"""Every shipped config through the real command, and what it leaves behind."""

import csv
import json
import math
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image
from wandb_file import read_wandb

from benchmarks.bitwise_diff import differences, unequal
from common.files import read_tensors
from networks.generator_files import load_generator, read_metadata

Twofold = Callable[..., "subprocess.CompletedProcess[str]"]
CONFIGS = sorted(path for path in (Path(__file__).parents[2] / "configs").glob("*.yaml") if path.name != "base.yaml")
STEPS = 5
SHORT = ("--trainer.max_steps", STEPS, "--trainer.log_every_n_steps", 2, "--checkpoint.every_n_train_steps", 2)


@dataclass
class Left:
    """What `twofold fit` left on disk and printed."""

    config: Path
    cwd: Path
    folder: Path
    stdout: str
    stderr: str

    @property
    def is_gan(self) -> bool:
        return "GAN" in self.config.read_text()

    @property
    def length(self) -> int | None:
        """The length of the palindromes, if there are any."""
        length: int | None = yaml.safe_load(self.config.read_text())["data"]["init_args"].get("length")
        return length

    @property
    def logged(self) -> set[str]:
        """What training logs for each batch."""
        text = self.config.read_text()
        if not self.is_gan:
            return {"train/loss", "train/accuracy"} | ({"train/length"} if "LengthCurriculum" in text else set())
        names = ["d_loss", "d_accuracy_real", "d_accuracy_fake", "d_gradient_norm", "g_gradient_norm"]
        names += ["d_penalty"] if "r1:" in text or "gradient_penalty:" in text else []
        # With n_critic 5 the generator isn't updated in batches 2 and 4.
        return {f"train/{name}" for name in (names if "n_critic: 5" in text else [*names, "g_loss"])}

    @property
    def reported(self) -> set[str]:
        """What the evaluation at the end logs of the generator, and of its moving average if there is one."""
        if not self.is_gan:
            return set()
        weights = ["raw", "ema"] if "ema_decay" in self.config.read_text() else ["raw"]
        names = ["fid", "fid_real", "fid_over_real", "fid_samples", "kid", "confidence", "precision", "recall"]
        names += [
            "nearest_neighbour_distance",
            "real_nearest_neighbour_distance",
            "memorised",
            "memorisation_samples",
            "modes_covered",
        ]
        names += [f"class_{n}" for n in range(10)]
        return {f"final/{kind}/{name}" for kind in weights for name in names}

    def rows(self, name: str) -> list[dict[str, str]]:
        with (self.folder / name).open(newline="") as file:
            return list(csv.DictReader(file))


@pytest.fixture(scope="module", params=CONFIGS, ids=lambda path: path.stem)
def left(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, twofold: Twofold) -> Left:
    shipped: Path = request.param
    cwd = tmp_path_factory.mktemp(shipped.stem)
    config = tmp_path_factory.mktemp("configs") / shipped.name
    config.write_text(shipped.read_text().replace("final_samples: 10000", "final_samples: 200"))  # takes seconds less
    on_images = ("--data.source", "packaged") if "MNIST" in config.read_text() else ()
    soon = ("--model.d_reg_interval", 4) if "d_reg_interval" in config.read_text() else ()
    done = twofold(cwd, "fit", "-c", config, *SHORT, *on_images, *soon)
    assert done.returncode == 0, done.stderr
    [folder] = (cwd / "runs" / config.stem).iterdir()
    assert [path.name for path in cwd.iterdir()] == ["runs"]
    return Left(config, cwd, folder, done.stdout, done.stderr)


def test_prints_the_evaluation_and_the_run_folder(left: Left) -> None:
    assert left.stderr == ""
    *reports, closing = left.stdout.splitlines()
    assert closing == f"results in runs/{left.config.stem}/{left.folder.name}"
    assert len(reports) == len({name.split("/")[1] for name in left.reported})
    assert all(f" generator, after {STEPS} batches of the packaged digits: FID " in line for line in reports)
    assert all("don't compare with numbers on MNIST" in line for line in reports)


def test_keeps_config_and_run_metadata(left: Left) -> None:
    config = yaml.safe_load((left.folder / "config.yaml").read_text())
    assert config["trainer"]["max_steps"] == STEPS
    assert config["experiment"] == left.config.stem
    assert config["model"] == yaml.safe_load((left.folder / "config.yaml").read_text())["model"]
    facts = json.loads((left.folder / "run.json").read_text())
    assert (facts["id"], facts["state"], facts["step"]) == (left.folder.name, "finished", STEPS)
    assert facts["threads"] == 1
    assert facts.get("data_source") == ("packaged" if "MNIST" in left.config.read_text() else None)


def test_metrics_and_timing_are_in_csv_files(left: Left) -> None:
    loss = "train/d_loss" if left.is_gan else "train/loss"
    *rows, end = left.rows("metrics.csv") if left.is_gan else [*left.rows("metrics.csv"), {}]
    assert [row["step"] for row in rows] == ["1", "3"]
    assert rows[0].keys() == {"step", "epoch", *left.logged, *left.reported}
    assert all(0 < abs(float(row[loss])) < 20 for row in rows)
    assert {name for name, value in end.items() if value} == ({"step"} | left.reported if left.is_gan else set())
    times = left.rows("timing.csv")
    assert [row["step"] for row in times] == ["1", "3"]
    assert all(float(row["time/ms_per_batch"]) > 0 for row in times)
    assert 0 < float(times[0]["time/seconds"]) < float(times[1]["time/seconds"])


def test_keeps_the_newest_checkpoints(left: Left) -> None:
    names = {path.name for path in (left.folder / "checkpoints").iterdir()}
    assert names == {"step=000004.ckpt", "step=000005.ckpt", "last.ckpt"}
    last = torch.load(left.folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["global_step"] == STEPS


def test_images_and_generator_file_are_written(left: Left) -> None:
    names = {
        path.relative_to(left.folder).as_posix() for path in left.folder.rglob("*.p[nt]*") if "wandb" not in str(path)
    }
    if not left.is_gan:
        assert names == set()
        return
    assert names == {"images/step_000000.png", "interpolation.png", "mnist_generator.pth"}
    pictures = left.folder / "images" / "step_000000.png", left.folder / "interpolation.png"
    with Image.open(pictures[0]) as grid, Image.open(pictures[1]) as strip:
        assert grid.width < strip.width
    facts = read_metadata(left.folder / "mnist_generator.pth")
    averaged = "ema_decay" in left.config.read_text()
    assert (facts["weights"], facts["step"], facts["data_source"]) == ("ema" if averaged else "raw", STEPS, "packaged")
    network = load_generator(left.folder / "mnist_generator.pth")
    images = network(torch.zeros(2, int(network.latent_dim)))  # type: ignore[arg-type]
    assert images.shape == (2, 1, 28, 28)


def test_wandb_records_everything_offline(left: Left) -> None:
    [path] = left.folder.glob("wandb/offline-run-*/run-*.wandb")
    recorded = read_wandb(path)
    assert recorded.id == left.folder.name
    assert recorded.config["trainer"]["max_steps"] == STEPS
    assert recorded.config["seed_everything"] == 1
    assert {"model", "data", "checkpoint", "experiment", "data_source"} <= recorded.config.keys()
    losses = left.logged
    pictures = {"images", "interpolation", "samples"} if left.is_gan else set()
    keys = {key.split(".")[0] for row in recorded.rows for key in row if not key.startswith("_")}
    times = {"time/ms_per_batch", "time/seconds"}
    assert keys == {"epoch", "trainer/global_step", *times, *losses, *pictures, *left.reported}
    in_csv = [float(row[min(losses)]) for row in left.rows("metrics.csv") if row[min(losses)]]
    assert [row[min(losses)] for row in recorded.rows if min(losses) in row] == pytest.approx(in_csv)
    assert [row["trainer/global_step"] for row in recorded.rows if min(losses) in row] == [1, 3]


@pytest.mark.slow
def test_evaluation_adds_files_and_changes_none(
    left: Left, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from twofold.main import main

    monkeypatch.chdir(left.cwd)
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")
    before = {path: path.read_bytes() for path in left.folder.rglob("*") if path.is_file()}
    config = str((left.folder / "config.yaml").relative_to(left.cwd))
    for command in ("validate", "test", "predict"):
        assert main([command, "-c", config, "--ckpt_path", "last"]) == 0, capsys.readouterr().err
    after = {path: path.read_bytes() for path in left.folder.rglob("*") if path.is_file()}
    assert {path: content for path, content in after.items() if path in before} == before
    assert [path.name for path in left.cwd.iterdir()] == ["runs"]
    new = {path.relative_to(left.folder).as_posix() for path in after.keys() - before.keys()}
    samples = {f"samples/{i:06d}.png" for i in range(64)}
    assert new == {"validate.csv", "test.csv"} | (samples if left.is_gan else {"predictions.csv"})
    for split in ("val", "test"):
        [row] = left.rows("validate.csv" if split == "val" else "test.csv")
        assert (row.pop("checkpoint"), row.pop("step")) == ("step=000005.ckpt", "5")
        assert row.pop("data_source", None) == "packaged" or int(row.pop("length")) >= 2
        assert all(key.startswith(f"{split}/") and math.isfinite(float(value)) for key, value in row.items())
        if left.is_gan:
            assert f"{split}/g_loss" in row
        elif split == "val" or left.length is None:
            assert f"{split}/accuracy" in row
        else:
            written = range(11, 21) if "second_half" in left.config.read_text() else ()
            positions = {f"test/accuracy/position={position}" for position in written}
            assert row.keys() == {f"test/accuracy/T={left.length}", *positions}


@pytest.mark.slow
def test_same_command_gives_same_bits_and_another_seed_others(tmp_path: Path, twofold: Twofold) -> None:
    gan = next(path for path in CONFIGS if path.stem == "gan")
    command = ("fit", "-c", gan, "--data.source", "packaged", "--data.batch_size", 8, "--trainer.max_steps", 7)

    def left_by(name: str, *options: object) -> Path:
        done = twofold(tmp_path, *command, "--experiment", name, "--trainer.log_every_n_steps", 1, *options)
        assert done.returncode == 0, done.stderr
        return max((tmp_path / "runs" / name).iterdir())

    first, second = left_by("same"), left_by("same")
    assert first != second
    assert differences(first, second) == []
    with (first / "metrics.csv").open(newline="") as file:
        assert [row["step"] for row in csv.DictReader(file)] == [
            str(step) for step in range(8)
        ]  # the last is the end's

    unwatched = left_by("unwatched", "--trainer.logger", "false", "--trainer.callbacks", "null")
    other = left_by("other", "--seed_everything", 2)
    state, alone, others = (trained(folder) for folder in (first, unwatched, other))
    assert list(unequal(state, alone)) == []
    assert len(list(unequal(state, others))) > 10


def trained(folder: Path) -> dict[str, Any]:
    """What a run's last checkpoint holds of the networks and their optimizers."""
    checkpoint = read_tensors(folder / "checkpoints" / "last.ckpt")
    return {name: checkpoint[name] for name in ("state_dict", "optimizer_states", "lr_schedulers")}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("steps", "options", "grids"),
    [(9, ("--trainer.callbacks.init_args.every_n_batches", 4), [0, 4, 8]), (501, (), [0, 500])],
)
def test_grids_are_written_at_batches(
    tmp_path: Path, twofold: Twofold, steps: int, options: tuple[object, ...], grids: list[int]
) -> None:
    config = tmp_path / "gan.yaml"
    text = next(path for path in CONFIGS if path.stem == "gan").read_text()
    config.write_text(text.replace("every_n_batches: 500", f"every_n_batches: {options[1] if options else 500}"))
    arguments = ("--data.source", "packaged", "--data.batch_size", 2, "--trainer.max_steps", steps)
    assert twofold(tmp_path, "fit", "-c", config, *arguments, WANDB_MODE="disabled").returncode == 0
    [folder] = (tmp_path / "runs" / "gan").iterdir()
    assert sorted(path.name for path in (folder / "images").iterdir()) == [f"step_{step:06d}.png" for step in grids]


@pytest.mark.slow
@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_bfloat16_run_is_validated_in_float32(config: Path, tmp_path: Path, twofold: Twofold) -> None:
    on_images = ("--data.source", "packaged") if "MNIST" in config.read_text() else ()
    done = twofold(tmp_path, "fit", "-c", config, *SHORT, *on_images, "--trainer.precision", "bf16-mixed")
    assert done.returncode == 0, done.stderr
    [kept] = tmp_path.glob("runs/*/*/config.yaml")
    weights = read_tensors(kept.parent / "checkpoints" / "last.ckpt")["state_dict"]
    assert {weight.dtype for weight in weights.values() if weight.is_floating_point()} == {torch.float32}
    evaluate = ("validate", "-c", kept, "--ckpt_path", "last", "--trainer.limit_val_batches", 2)
    done = twofold(tmp_path, *evaluate, "--trainer.precision", "32-true")
    assert done.returncode == 0, done.stderr
    assert (kept.parent / "validate.csv").exists()


@pytest.mark.slow
@pytest.mark.parametrize("config", ["gan_template", "gan", "digit_classifier"])
def test_compiled_run_ends_where_the_plain_one_does(tmp_path: Path, twofold: Twofold, config: str) -> None:
    states = []
    for compiled in ("false", "true"):
        cwd = tmp_path / compiled
        cwd.mkdir()
        small = ("-c", CONFIGS[0].with_name(f"{config}.yaml"), "--data.source", "packaged", "--trainer.max_steps", 3)
        done = twofold(cwd, "fit", *small, "--compile", compiled)
        assert done.returncode == 0, done.stderr
        [checkpoint] = cwd.glob("runs/*/*/checkpoints/last.ckpt")
        states.append(read_tensors(checkpoint)["state_dict"])
    plain, fast = states
    assert plain.keys() == fast.keys()
    assert all((plain[name] - fast[name]).abs().max() < 0.01 for name in plain)
