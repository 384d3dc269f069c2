"""Runs in Weights & Biases: what they hold, offline and online, and that W&B's failures don't reach the training."""

import json
import os
import signal
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from integration.conftest import PYTHONPATH, Twofold, inherited_environment
from PIL import Image
from row_logger import columns
from wandb_file import WandbFile, read_wandb
from wandb_server import KEY, Server

from benchmarks.bitwise_diff import differences

SHORT = (
    "--data.batch_size 8 --trainer.max_steps 12 --trainer.log_every_n_steps 4 --checkpoint.every_n_train_steps 5 "
    "--trainer.callbacks+=killer.Killer"
)
GAN = (
    "-c gan_template --data.source packaged --model.generator.latent_dim 8 --model.generator.widths [32] "
    "--model.generator_optimizer.lr 0.003 --trainer.logger.tags [mine] --trainer.logger.log_model true "
    "--trainer.callbacks=callbacks.ImageGrid --trainer.callbacks.every_n_batches 4 "
    "--trainer.callbacks+=callbacks.GenerativeMetrics --trainer.callbacks.every_n_batches 2 "
    "--trainer.callbacks.samples 40 --trainer.callbacks.final_samples 40 "
    f"--trainer.callbacks+=callbacks.InterpolationStrip --trainer.callbacks.steps 4 {SHORT}"
)
LSTM = f"-c palindrome_lstm {SHORT}"
FILES = ("images", "interpolation", "samples")
LOGGED = [3, 7, 11]
"""The steps of the rows with a loss."""
KILL_AFTER_TWO_CHECKPOINTS = {"KILL": "step 11", "KILL_AFTER": "2", "exit_code": -signal.SIGKILL}
BUSY_MACHINE = 80
"""Seconds that a failing server may cost; W&B alone would wait for 90 s at the start and without limit at the end."""

Fit = Callable[..., "Run"]


@dataclass
class Run:
    """The folder of a run, and what its last command printed as errors."""

    folder: Path
    stderr: str
    seconds: float

    @property
    def parts(self) -> list[WandbFile]:
        """What W&B's files hold, one for each process."""
        return [read_wandb(path) for path in sorted(self.folder.glob("wandb/*run-*/*.wandb"))]

    def series(self, table: str = "metrics.csv") -> dict[str, list[tuple[int, float]]]:
        return columns(self.folder / table)


def train(twofold: Twofold, cwd: Path, options: str, exit_code: int = 0, **environment: str) -> Run:
    """Starts a run, or resumes the one in `cwd`. No file and no output may hold the key."""
    configs = list(cwd.glob("runs/*/*/config.yaml"))
    command = ["-c", configs[0], "--ckpt_path", "last"] if configs else options.split()
    before = time.monotonic()
    done = twofold(cwd, "fit", *command, **environment)
    seconds = time.monotonic() - before
    assert done.returncode == exit_code, done.stderr
    folder = next(cwd.glob("runs/*/*"), cwd)
    contents = [path.read_bytes() for path in cwd.rglob("*") if path.is_file()]
    for content in (*contents, done.stdout.encode(), done.stderr.encode()):
        assert KEY.encode() not in content
        assert b64encode(f"api:{KEY}".encode()) not in content
    return Run(folder, done.stderr, seconds)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, twofold: Twofold) -> Callable[[str], Run]:
    """Trains at once, without a key; once for each set of options."""
    return cache(lambda options: train(twofold, tmp_path_factory.mktemp("undisturbed"), options))


@pytest.fixture
def whole(undisturbed: Callable[[str], Run]) -> Run:
    return undisturbed(GAN)


@pytest.fixture
def fit(tmp_path: Path, twofold: Twofold, undisturbed: Callable[[str], Run]) -> Callable[..., Run]:
    """`train` in the test's folder. A run that ends took hardly longer than the undisturbed one and has its bits."""

    def fit(options: str, **arguments: Any) -> Run:
        run, expected = train(twofold, tmp_path, options, **arguments), undisturbed(options)
        if "exit_code" not in arguments:
            assert run.seconds < expected.seconds + BUSY_MACHINE
            assert differences(expected.folder, run.folder) == []
        return run

    return fit


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        yield server


def test_run_has_config_group_and_tags(whole: Run) -> None:
    [run] = whole.parts
    config = yaml.safe_load((whole.folder / "config.yaml").read_text())
    assert {key: run.config[key] for key in config} == config
    facts = {"data_source", "device", "processes", "versions", "git", "parameters"}
    assert run.config.keys() - config.keys() == {"_wandb", *facts}
    assert [run.config[key] for key in ("data_source", "device", "processes", "threads")] == ["packaged", "cpu", 1, 1]
    assert (run.id, run.group) == (whole.folder.name, "gan_template")
    assert run.tags == ["mine", "gan_template", "GAN", "packaged"]


def test_every_series_has_the_axis_of_batches(whole: Run) -> None:
    [run] = whole.parts
    logged = whole.series() | whole.series("timing.csv")
    assert {"train/g_loss", "quality/fid", "final/raw/fid", "time/ms_per_batch"} <= logged.keys()
    for key, points in logged.items():
        assert run.points(key) == points, key
    assert run.definitions["*"].step_metric == "trainer/global_step"
    assert all(row["_step"] == place for place, row in enumerate(run.rows)), "each row is separate"


def test_pictures_have_captions(whole: Run) -> None:
    [run] = whole.parts
    shown = [(step, *picture["captions"]) for key in ("images", "interpolation") for step, picture in run.points(key)]
    grids = [(step, f"after {step} batches of the packaged digits") for step in (0, 4, 8, 12)]
    assert shown == [*grids, (12, "lerp, after 12 batches of the packaged digits")]
    for key, file in (("images", "images/step_000012.png"), ("interpolation", "interpolation.png")):
        [copy] = run.points(key)[-1][1]["filenames"]
        assert (run.folder / copy).read_bytes() == (whole.folder / file).read_bytes()


def test_samples_and_generators_are_artifacts(whole: Run) -> None:
    [run] = whole.parts
    generators = {f"{kind}_generator-{run.id}" for kind in ("mnist", "best")}
    assert run.artifacts.keys() == {*generators, f"run-{run.id}-samples"}
    copies = [copy for files in run.artifacts.values() for copy in files.values()]
    assert all(copy.is_relative_to(whole.folder / "wandb") for copy in copies)
    [(step, table)] = run.points("samples")
    assert (step, table["_type"], table["nrows"], table["ncols"]) == (12, "table-file", 64, 3)
    files = run.artifacts[f"run-{run.id}-samples"]
    content = json.loads(files["samples.table.json"].read_text())
    assert content["columns"] == ["image", "class", "confidence"]
    for image, digit, confidence in content["data"]:
        with Image.open(files[image["path"]]) as picture:
            assert picture.size == (28, 28)
        assert digit in range(10)
        assert 0.1 <= confidence <= 1


def comparable(summary: dict[str, Any]) -> dict[str, Any]:
    """The values that a resumed run repeats: no times, and no pictures and tables, whose files have other names."""
    return {key: value for key, value in summary.items() if not key.startswith(("time/", "_")) and key not in FILES}


@pytest.mark.slow
def test_resumed_run_continues_in_a_second_part(fit: Fit, whole: Run) -> None:
    fit(GAN, **KILL_AFTER_TWO_CHECKPOINTS)
    resumed = fit(GAN)
    first, last = resumed.parts
    assert first.id == last.id == resumed.folder.name
    assert (last.group, last.tags) == (first.group, first.tags)
    assert {**last.config, "_wandb": {}} == {**first.config, "_wandb": {}}
    for key, points in resumed.series().items():
        assert {*first.points(key), *last.points(key)} == {*points}, key
        assert {point for point in points if point[0] >= 10} <= {*last.points(key)}, key
    best_step, _ = min(resumed.series()["quality/fid"], key=lambda point: point[1])
    assert best_step < 10, "the best value belongs to the first part"
    assert comparable(last.summary) == comparable(whole.parts[0].summary)


@pytest.mark.slow
def test_server_gets_a_run_in_two_parts(fit: Fit, whole: Run, server: Server) -> None:
    fit(GAN, **KILL_AFTER_TWO_CHECKPOINTS, **server.account)
    online = fit(GAN, **server.account)
    assert "W&B" not in online.stderr
    sent, offline = server.run, whole.parts[0]
    assert (sent["name"], sent["groupName"], sent["tags"]) == (online.folder.name, offline.group, offline.tags)
    assert json.loads(sent["config"]).keys() == offline.config.keys()
    assert comparable(server.summary) == comparable(offline.summary)
    fids = {*whole.series()["quality/fid"]}
    # The rows that the killed process didn't send stay on its disk.
    assert {point for point in fids if point[0] >= 9} <= {*server.points("quality/fid")} <= fids
    assert len(server.artifacts) == len(offline.artifacts)
    for name in ("mnist_generator", "best_generator"):
        files = {f"{name}{end}": (online.folder / f"{name}{end}").read_bytes() for end in (".pth", ".json")}
        assert server.artifacts[f"{name}-{online.folder.name}"] == files


def sync(server: Server, run: Run, *options: str) -> None:
    """Uploads a run by W&B's own command; afterwards the server has the whole series."""
    server.mode, server.mode_after_start = "ok", None
    parts = map(str, sorted(run.folder.glob("wandb/*run-*")))
    environment = {**inherited_environment(), "HOME": str(run.folder), **server.account}
    command = [str(Path(sys.executable).with_name("wandb")), "sync", *options, *parts]
    subprocess.run(command, cwd=run.folder, env=environment, capture_output=True, timeout=60, check=True)
    assert server.run["name"] == run.folder.name
    assert sorted({step for step, _ in server.points("train/loss")}) == LOGGED


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "words"), [(500, "500"), ("hangs", "deadline exceeded"), ("refuses", "connection refused")]
)
def test_failing_start_is_recorded_offline(
    fit: Fit, server: Server, free_port: int, mode: str | int, words: str
) -> None:
    server.mode = mode
    url = f"http://127.0.0.1:{free_port}" if mode == "refuses" else server.url
    run = fit(LSTM, **{**server.account, "WANDB_BASE_URL": url, "WANDB_INIT_TIMEOUT": "1"})
    assert run.stderr.count("\n") == 1
    assert words in run.stderr
    assert f"wandb sync runs/palindrome_lstm/{run.folder.name}/wandb/offline-*" in run.stderr
    assert [step for part in run.parts for step, _ in part.points("train/loss")] == LOGGED


@pytest.mark.slow
def test_parts_with_a_refused_key_are_uploaded_later(fit: Fit, server: Server) -> None:
    server.mode = 401
    killed = fit(LSTM, **KILL_AFTER_TWO_CHECKPOINTS, **server.account)
    resumed = fit(LSTM, **server.account)
    for stderr in (killed.stderr, resumed.stderr):
        assert stderr.count("\n") == 1
        assert "401" in stderr
    assert len([part for part in resumed.parts if part.rows]) == 2
    sync(server, resumed)


@pytest.mark.slow
@pytest.mark.parametrize("options", [LSTM, GAN], ids=["numbers", "numbers and artifacts"])
def test_server_that_hangs_after_the_start_is_not_awaited(fit: Fit, server: Server, options: str) -> None:
    server.mode_after_start = "hangs"
    run = fit(options, **server.account, WANDB_HTTP_TIMEOUT="1", WANDB_FINISH_TIMEOUT="1")
    assert run.stderr.count("W&B: ") == 1
    assert server.history == []
    if options == LSTM:
        assert f"wandb sync --include-online runs/palindrome_lstm/{run.folder.name}/wandb/run-*" in run.stderr
        sync(server, run, "--include-online")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("core", "exit_code", "words"),
    [
        ("'/bin/false'", {}, "nothing is recorded\n"),
        ("os.kill(os.getpid(), signal.SIGTERM)", {"exit_code": 143}, "twofold: stopped by SIGTERM\n"),
    ],
    ids=["its program fails", "SIGTERM"],
)
def test_broken_start_does_not_hang(fit: Fit, tmp_path: Path, core: str, exit_code: dict[str, int], words: str) -> None:
    (tmp_path / "sitecustomize.py").write_text(f"""
import os, signal
from wandb.sdk.lib.service import service_process
service_process.get_core_path = lambda: {core}
""")
    run = fit(LSTM, **exit_code, PYTHONPATH=f"{tmp_path}{os.pathsep}{PYTHONPATH}")
    assert run.stderr.count("\n") == 1
    assert run.stderr.endswith(words)
