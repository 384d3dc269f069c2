"""Whatever W&B does, the run ends as if it weren't there, and can be uploaded later."""

import os
import signal
import socket
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from integration.conftest import PYTHONPATH
from wandb_server import Server, serving

Twofold = Callable[..., "subprocess.CompletedProcess[str]"]
CONFIG = Path(__file__).parents[2] / "configs" / "palindrome_lstm.yaml"
OPTIONS = "--trainer.max_steps 12 --data.batch_size 8 --trainer.log_every_n_steps 2 --checkpoint.every_n_train_steps 5"
pytestmark = pytest.mark.slow

FIT = ("fit", "-c", CONFIG, *OPTIONS.split())
LOGGED = [1, 3, 5, 7, 9, 11]
KEY = "c0ffee42" * 5
BUSY_MACHINE = 25  # W&B itself would wait for 90 s to begin, and for ever to end
MORE_THAN_A_HEADER = 1000


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


@dataclass
class Ended:
    """A run that ended well."""

    folder: Path
    stderr: str
    seconds: float

    @property
    def metrics(self) -> bytes:
        return (self.folder / "metrics.csv").read_bytes()

    @property
    def checkpoints(self) -> set[str]:
        return {path.name for path in (self.folder / "checkpoints").iterdir()}

    @property
    def weights(self) -> dict[str, torch.Tensor]:
        checkpoint: dict[str, Any] = torch.load(self.folder / "checkpoints" / "last.ckpt", weights_only=True)
        return dict(checkpoint["state_dict"])


def fit(twofold: Twofold, cwd: Path, *arguments: object, **environment: str) -> Ended:
    """Trains, to the end."""
    before = time.monotonic()
    done = twofold(cwd, *(arguments or FIT), **environment)
    seconds = time.monotonic() - before
    assert done.returncode == 0, done.stderr
    [folder] = (cwd / "runs" / "palindrome_lstm").iterdir()
    if "WANDB_API_KEY" in environment:
        assert_key_nowhere(environment["WANDB_API_KEY"], cwd, done)
    return Ended(folder, done.stderr, seconds)


def assert_key_nowhere(key: str, cwd: Path, done: "subprocess.CompletedProcess[str]") -> None:
    said = {"stdout": done.stdout.encode(), "stderr": done.stderr.encode()}
    files = {str(path): path.read_bytes() for path in cwd.rglob("*") if path.is_file()}
    assert {"config.yaml", "run.json", "last.ckpt", "debug.log"} <= {Path(name).name for name in files}
    for name, content in {**said, **files}.items():
        assert key.encode() not in content, name
        assert b64encode(f"api:{key}".encode()) not in content, name


def wandb(cwd: Path, *arguments: object, **environment: str) -> str:
    """What W&B's own command says."""
    command = [str(Path(sys.executable).with_name("wandb")), *map(str, arguments)]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    environment = {**inherited, "HOME": str(cwd), **environment}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def untroubled(tmp_path_factory: pytest.TempPathFactory, twofold: Twofold) -> Ended:
    """Without W&B."""
    ended = fit(twofold, tmp_path_factory.mktemp("untroubled"), WANDB_MODE="disabled")
    assert ended.stderr == ""
    assert not (ended.folder / "wandb").exists()
    return ended


def assert_nothing_lost(ended: Ended, untroubled: Ended) -> None:
    assert ended.metrics == untroubled.metrics
    assert ended.checkpoints == untroubled.checkpoints
    assert all(torch.equal(ended.weights[name], weight) for name, weight in untroubled.weights.items())


def test_online_run(tmp_path: Path, twofold: Twofold, untroubled: Ended, server: Server) -> None:
    ended = fit(twofold, tmp_path, WANDB_BASE_URL=server.url, WANDB_API_KEY=KEY)
    assert ended.stderr == ""
    assert_nothing_lost(ended, untroubled)
    assert [path.name[:4] for path in (ended.folder / "wandb").glob("*run-*")] == ["run-"]
    assert steps(server, ended) == LOGGED


@pytest.mark.parametrize(
    ("mood", "words"), [(500, "500"), ("hangs", "deadline exceeded"), ("refuses", "connection refused")]
)
def test_failing_start_is_recorded_offline(
    tmp_path: Path, twofold: Twofold, untroubled: Ended, server: Server, mood: str | int, words: str
) -> None:
    server.mood = mood
    url = f"http://127.0.0.1:{unused_port()}" if mood == "refuses" else server.url
    ended = fit(twofold, tmp_path, WANDB_BASE_URL=url, WANDB_API_KEY=KEY, WANDB_INIT_TIMEOUT="1")
    assert ended.seconds < untroubled.seconds + BUSY_MACHINE
    assert_nothing_lost(ended, untroubled)
    assert ended.stderr.count("\n") == 1
    assert words in ended.stderr
    assert f"wandb sync {ended.folder.relative_to(tmp_path)}/wandb/offline-*" in ended.stderr
    [recorded] = ended.folder.glob("wandb/offline-run-*/*.wandb")
    assert recorded.stat().st_size > MORE_THAN_A_HEADER


BROKEN_START = """
import os, signal, sys
from wandb.sdk.lib.service import service_process
service_process.get_core_path = lambda: {core}
from twofold.main import main
sys.exit(main())
"""


@pytest.mark.parametrize(
    ("core", "code", "words"),
    [
        ("'/bin/false'", 0, "nothing is recorded\n"),
        ("os.kill(os.getpid(), signal.SIGTERM)", 143, "twofold: stopped by SIGTERM\n"),
    ],
    ids=["its program ends at once", "SIGTERM meanwhile"],
)
def test_broken_start_does_not_hang(tmp_path: Path, untroubled: Ended, core: str, code: int, words: str) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    ended = subprocess.run(
        [sys.executable, "-c", BROKEN_START.format(core=core), *map(str, FIT)],
        cwd=tmp_path,
        env={**environment, "HOME": str(tmp_path), "OMP_NUM_THREADS": "1", "PYTHONPATH": PYTHONPATH},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert ended.returncode == code, ended.stderr
    assert ended.stderr.count("\n") == 1, ended.stderr
    assert ended.stderr.endswith(words)
    [folder] = tmp_path.glob("runs/palindrome_lstm/*")
    if code == 0:
        assert_nothing_lost(Ended(folder, ended.stderr, 0), untroubled)


def test_what_the_server_missed_is_uploaded_later(
    tmp_path: Path, twofold: Twofold, untroubled: Ended, server: Server
) -> None:
    server.mood_after_start = "hangs"
    ended = fit(twofold, tmp_path, WANDB_BASE_URL=server.url, WANDB_API_KEY=KEY, WANDB_FINISH_TIMEOUT="1")
    assert ended.seconds < untroubled.seconds + BUSY_MACHINE
    assert_nothing_lost(ended, untroubled)
    assert not any(run.history for run in server.runs.values())
    assert ended.stderr.count("\n") == 1
    assert f"wandb sync --include-online {ended.folder.relative_to(tmp_path)}/wandb/run-*" in ended.stderr
    server.mood, server.mood_after_start = "well", None
    parts = ended.folder.glob("wandb/run-*")
    wandb(tmp_path, "sync", "--include-online", *parts, WANDB_BASE_URL=server.url, WANDB_API_KEY=KEY)
    assert steps(server, ended) == LOGGED


def test_refused_key_and_kill_leave_two_offline_parts(
    tmp_path: Path, twofold: Twofold, untroubled: Ended, server: Server
) -> None:
    server.mood = 401
    account = {"WANDB_BASE_URL": server.url, "WANDB_API_KEY": KEY}
    killing = {"KILL": "step 8", "KILL_AFTER": "2"}
    killed = twofold(tmp_path, *FIT, "--trainer.callbacks+=killer.Killer", **account, **killing)
    assert killed.returncode == -signal.SIGKILL
    assert_key_nowhere(KEY, tmp_path, killed)
    [config] = tmp_path.glob("runs/palindrome_lstm/*/config.yaml")
    resumed = fit(twofold, tmp_path, "fit", "-c", config, "--ckpt_path", "last", **account)
    assert_nothing_lost(resumed, untroubled)
    for stderr in (killed.stderr, resumed.stderr):
        assert stderr.count("\n") == 1
        assert "401" in stderr

    server.mood = "well"
    parts = sorted(resumed.folder.glob("wandb/offline-run-*"))
    plan = wandb(tmp_path, "sync", "--dry-run", *parts)
    assert "Would sync 2 run(s)" in plan
    assert plan.count(f"/run-{resumed.folder.name}.wandb") == 2
    wandb(tmp_path, "sync", *parts, **account)
    # One axis. What came after batch 5 was done twice, and the second part logs the rows before it again.
    assert steps(server, resumed) == [1, 3, 5, 7, 1, 3, 5, 7, 9, 11]


def steps(server: Server, ended: Ended) -> list[int]:
    """At which batches the server knows the loss."""
    assert server.runs.keys() == {ended.folder.name}
    return [row["trainer/global_step"] for row in server.runs[ended.folder.name].history if "train/loss" in row]


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
