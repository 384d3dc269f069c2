"""A Weights & Biases run says what was run, on what, and with which results."""

import csv
import json
import math
import signal
import subprocess
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image
from wandb_file import WandbFile, read_wandb
from wandb_server import Server, serving

Twofold = Callable[..., "subprocess.CompletedProcess[str]"]
KEY = "c0ffee42" * 5
CONFIG = """
experiment: small_gan
model:
  class_path: lightning_modules.GAN
  init_args:
    generator: { class_path: networks.mlp_gan.MLPGenerator, init_args: { latent_dim: 8, widths: [32] } }
    discriminator: { class_path: networks.mlp_gan.MLPDiscriminator }
    generator_optimizer: { class_path: torch.optim.Adam, init_args: { lr: 0.003 } }
data:
  class_path: datamodules.MNISTDataModule
  init_args: { batch_size: 8, source: packaged }
trainer:
  max_steps: 12
  log_every_n_steps: 4
  callbacks:
    - { class_path: callbacks.ImageGrid, init_args: { every_n_batches: 4 } }
    - { class_path: callbacks.GenerativeMetrics, init_args: { every_n_batches: 2, samples: 40, final_samples: 40 } }
    - { class_path: callbacks.InterpolationStrip, init_args: { steps: 4 } }
    - { class_path: killer.Killer }
  logger:
    - { class_path: twofold.loggers.CSVLogger }
    - { class_path: twofold.loggers.TwofoldWandbLogger, init_args: { tags: [mine], log_model: true } }
checkpoint: { every_n_train_steps: 5 }
"""
AFTER_THE_SECOND_CHECKPOINT = {"KILL": "step 11", "KILL_AFTER": "2"}
BEST = {"quality/fid": min, "quality/fid_over_real": min, "quality/modes_covered": max}
MEASURED = ("time/", "_")


@dataclass
class Run:
    """The folder of a run, and what W&B's files say, one for each of its parts."""

    folder: Path
    parts: list[WandbFile]

    @property
    def metrics(self) -> dict[str, list[tuple[int, float]]]:
        """The series of `metrics.csv`."""
        return series(self.folder / "metrics.csv")


def series(table: Path) -> dict[str, list[tuple[int, float]]]:
    found: dict[str, list[tuple[int, float]]] = {}
    with table.open() as file:
        for row in csv.DictReader(file):
            for key in row.keys() - {"step"}:
                if row[key]:
                    found.setdefault(key, []).append((int(row["step"]), float(row[key])))
    return found


def train(twofold: Twofold, cwd: Path, *, killed: bool = False, **environment: str) -> Run:
    """Trains to the end, at once or in two parts."""
    config = cwd / "gan.yaml"
    config.write_text(CONFIG)
    if killed:
        done = twofold(cwd, "fit", "-c", config, **AFTER_THE_SECOND_CHECKPOINT, **environment)
        assert done.returncode == -signal.SIGKILL, done.stderr
        [folder] = (cwd / "runs" / "small_gan").iterdir()
        done = twofold(cwd, "fit", "-c", folder / "config.yaml", "--ckpt_path", "last", **environment)
    else:
        done = twofold(cwd, "fit", "-c", config, **environment)
    assert done.returncode == 0, done.stderr
    assert "W&B" not in done.stderr
    [folder] = (cwd / "runs" / "small_gan").iterdir()
    return Run(folder, [read_wandb(path) for path in sorted(folder.glob("wandb/*run-*/*.wandb"))])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, twofold: Twofold) -> Run:
    return train(twofold, tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def resumed(tmp_path_factory: pytest.TempPathFactory, twofold: Twofold) -> Run:
    return train(twofold, tmp_path_factory.mktemp("resumed"), killed=True)


def test_config_is_complete(whole: Run) -> None:
    [run] = whole.parts
    asked = yaml.safe_load((whole.folder / "config.yaml").read_text())
    assert {"seed_everything", "trainer", "data", "model", "checkpoint", "experiment"} <= asked.keys()
    assert {key: run.config[key] for key in asked} == asked
    assert run.config.keys() - asked.keys() == {
        *("_wandb", "data_source", "device", "processes", "threads", "versions", "git", "parameters")
    }
    assert run.config["trainer"]["callbacks"][1]["init_args"]["classifier"] == "digit_cnn"


def test_config_has_data_source_and_versions(whole: Run) -> None:
    [run] = whole.parts
    found = {key: run.config[key] for key in ("data_source", "device", "processes", "threads")}
    assert found == {"data_source": "packaged", "device": "cpu", "processes": 1, "threads": 1}
    versions = run.config["versions"]
    assert versions.keys() == {"python", "torch", "lightning", "torchmetrics", "numpy", "wandb"}
    assert versions["lightning"] == version("lightning")
    checkout = (Path(__file__).parents[2] / ".git").exists()
    assert run.config["git"].keys() == ({"commit", "clean"} if checkout else set())


def test_config_has_parameter_counts(whole: Run) -> None:
    [run] = whole.parts
    generator = torch.load(whole.folder / "mnist_generator.pth", weights_only=True)
    buffers = ("running_mean", "running_var", "num_batches_tracked")
    size = sum(value.numel() for name, value in generator.items() if not name.endswith(buffers))
    parameters = run.config["parameters"]
    assert parameters["generator"] == size
    assert parameters["total"] == parameters["trainable"] == size + parameters["discriminator"]


def test_group_and_tags(whole: Run) -> None:
    [run] = whole.parts
    assert (run.id, run.group) == (whole.folder.name, "small_gan")
    assert run.tags == ["mine", "small_gan", "GAN", "packaged"]


def test_every_series_has_the_axis_of_batches(whole: Run) -> None:
    [run] = whole.parts
    logged = {**whole.metrics, **series(whole.folder / "timing.csv")}
    assert {"train/g_loss", "quality/fid", "final/raw/fid", "time/ms_per_batch"} <= logged.keys()
    for key, points in logged.items():
        assert run.points(key) == points, key
    assert run.definitions["*"].step_metric == "trainer/global_step"
    assert all(row["_step"] == place for place, row in enumerate(run.rows)), "nothing was put into another's row"


def test_summary_has_the_best_values(whole: Run) -> None:
    [run] = whole.parts
    for key, best in BEST.items():
        values = [value for _, value in whole.metrics[key]]
        found = run.summary[key]
        assert found == pytest.approx({best.__name__: best(values), "last": values[-1]})
        assert run.definitions[key].step_metric == "trainer/global_step"
    times = [value for _, value in series(whole.folder / "timing.csv")["time/ms_per_batch"]]
    assert run.summary["time/ms_per_batch"] == pytest.approx({"mean": sum(times) / len(times), "last": times[-1]})
    assert run.summary["final/raw/fid"] == whole.metrics["final/raw/fid"][0][1]


def test_pictures_have_captions(whole: Run) -> None:
    [run] = whole.parts
    shown = [(step, *picture["captions"]) for key in ("images", "interpolation") for step, picture in run.points(key)]
    grids = [(step, f"after {step} batches of the packaged digits") for step in (0, 4, 8, 12)]
    assert shown == [*grids, (12, "lerp, after 12 batches of the packaged digits")]
    for key, file in (("images", "images/step_000012.png"), ("interpolation", "interpolation.png")):
        [kept] = run.points(key)[-1][1]["filenames"]
        assert (run.folder / kept).read_bytes() == (whole.folder / file).read_bytes()


def test_table_has_samples_with_labels(whole: Run) -> None:
    [run] = whole.parts
    [(step, table)] = run.points("samples")
    assert step == 12
    assert (table["_type"], table["nrows"], table["ncols"]) == ("table-file", 64, 3)
    kept = run.artifacts[f"run-{run.id}-samples"]
    content = json.loads(kept["samples.table.json"].read_text())
    assert content["columns"] == ["image", "digit", "confidence"]
    for image, digit, confidence in content["data"]:
        with Image.open(kept[image["path"]]) as picture:
            assert picture.size == (28, 28)
        assert digit in range(10)
        assert 0.1 <= confidence <= 1


def test_generators_are_artifacts_if_asked(whole: Run) -> None:
    [run] = whole.parts
    for name in ("mnist_generator", "best_generator"):
        kept = run.artifacts[f"{name}-{run.id}"]
        assert kept.keys() == {f"{name}.pth", f"{name}.json"}
        for file, copy in kept.items():
            assert copy.is_relative_to(whole.folder / "wandb"), "it would be lost with the home directory"
            assert copy.read_bytes() == (whole.folder / file).read_bytes()
        assert run.metadata[f"{name}-{run.id}"] == json.loads((whole.folder / f"{name}.json").read_text())


@pytest.mark.slow
def test_last_part_of_a_resumed_run_is_complete(whole: Run, resumed: Run) -> None:
    assert resumed.metrics == whole.metrics
    first, last = resumed.parts
    assert first.id == last.id == resumed.folder.name
    assert (last.group, last.tags) == ("small_gan", ["mine", "small_gan", "GAN", "packaged"])
    assert {**last.config, "_wandb": {}} == {**first.config, "_wandb": {}}
    assert {key: step for key in BEST for step, _ in last.points(key)[-1:]} == dict.fromkeys(BEST, 11)
    best_step, _ = min(resumed.metrics["quality/fid"], key=lambda point: point[1])
    assert best_step < 10, "else the last part alone would know it"
    assert comparable(last.summary) == comparable(whole.parts[0].summary)
    assert first.summary["quality/fid"]["min"] == last.summary["quality/fid"]["min"]


@pytest.mark.slow
def test_parts_of_a_resumed_run_share_the_axis(resumed: Run) -> None:
    first, last = resumed.parts
    for key, points in resumed.metrics.items():
        assert {*first.points(key), *last.points(key)} == {*points}, key
        assert [point for point in points if point[0] >= 10] == [p for p in last.points(key) if p[0] >= 10], key


def comparable(summary: dict[str, Any]) -> dict[str, Any]:
    """What a resumed run repeats: no times, and no names that W&B draws."""
    kept = {key: value for key, value in summary.items() if not key.startswith(MEASURED)}
    for key in ("images", "interpolation"):
        kept[key] = {name: value for name, value in kept[key].items() if name != "filenames"}
    kept["samples"] = {name: kept["samples"][name] for name in ("nrows", "ncols")}
    return kept


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.mark.slow
def test_server_gets_the_same_in_two_parts(tmp_path: Path, twofold: Twofold, whole: Run, server: Server) -> None:
    online = train(twofold, tmp_path, killed=True, WANDB_BASE_URL=server.url, WANDB_API_KEY=KEY)
    assert online.metrics == whole.metrics
    [(name, run)] = server.runs.items()
    assert name == online.folder.name
    assert (run.group, run.tags) == ("small_gan", ["mine", "small_gan", "GAN", "packaged"])
    asked = yaml.safe_load((online.folder / "config.yaml").read_text())
    assert {key: run.config[key] for key in asked} == asked
    assert run.config["parameters"] == whole.parts[0].config["parameters"]
    assert comparable(run.summary) == comparable(whole.parts[0].summary)
    fids = {(row["trainer/global_step"], row["quality/fid"]) for row in run.history if "quality/fid" in row}
    # What wasn't sent when it was killed stays on the disk; the second part sends it again.
    assert {point for point in whole.metrics["quality/fid"] if point[0] >= 9} <= fids <= {*whole.metrics["quality/fid"]}

    assert server.committed == server.artifacts.keys()
    models = [f"{kind}_generator-{name}" for kind in ("mnist", "best")]
    assert server.artifacts.keys() == {*models, f"run-{name}-samples"}
    for model in models:
        for file, content in server.artifacts[model].items():
            assert content == (online.folder / file).read_bytes()
    assert_key_nowhere(tmp_path)


def assert_key_nowhere(folder: Path) -> None:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 20
    for path in files:
        content = path.read_bytes()
        assert KEY.encode() not in content, path
        assert b64encode(f"api:{KEY}".encode()) not in content, path


@pytest.mark.slow
def test_hanging_server_is_not_waited_for(tmp_path: Path, twofold: Twofold, whole: Run, server: Server) -> None:
    server.mood_after_start = "hangs"
    (tmp_path / "gan.yaml").write_text(CONFIG)
    waits = dict.fromkeys(("WANDB_HTTP_TIMEOUT", "WANDB_FINISH_TIMEOUT"), "1")
    done = twofold(tmp_path, "fit", "-c", tmp_path / "gan.yaml", WANDB_BASE_URL=server.url, WANDB_API_KEY=KEY, **waits)
    assert done.returncode == 0
    assert done.stderr.count("W&B") == 1
    [folder] = (tmp_path / "runs" / "small_gan").iterdir()
    assert (folder / "metrics.csv").read_bytes() == (whole.folder / "metrics.csv").read_bytes()
    assert math.isfinite(json.loads((folder / "quality.json").read_text())["raw"]["fid"])
