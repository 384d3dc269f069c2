"""The command with two processes: one run, one set of files, the numbers of one process, and no process left behind."""

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from benchmarks.bitwise_diff import differences
from twofold.tables import read_rows

Twofold = Callable[..., "subprocess.CompletedProcess[str]"]
ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "configs"
LSTM = CONFIGS / "palindrome_lstm.yaml"
TWO = ("--trainer.devices", "2", "--trainer.accelerator", "cpu")
KILLER = ("--trainer.callbacks+=killer.Killer", "--trainer.log_every_n_steps", "1")
GROWING = shlex.split(
    "--data.batches_per_epoch 7 --data.batch_size 33 --trainer.max_steps 20 --checkpoint.every_n_train_steps 5 "
    "--trainer.callbacks+=callbacks.LengthCurriculum --trainer.callbacks.start 2 --trainer.callbacks.perfect_batches 3"
)
FIT_LSTM = ("fit", "-c", LSTM, *GROWING, *KILLER)
EXPERIMENTS = sorted(path.stem for path in CONFIGS.glob("*.yaml") if path.stem not in ("base", "gan_folder"))
slow = pytest.mark.slow


@pytest.mark.parametrize("experiment", [pytest.param(name, marks=[slow] * (name != "gan")) for name in EXPERIMENTS])
def test_run_of_a_shipped_config(tmp_path: Path, twofold: Twofold, experiment: str) -> None:
    config = with_short_intervals(experiment, tmp_path)
    options = "--trainer.max_steps 4 --trainer.limit_val_batches 2 --trainer.log_every_n_steps 1"
    packaged = "--data.source packaged --data.batch_size 33" if "MNIST" in config.read_text() else ""
    done = twofold(tmp_path, "fit", "-c", config, *options.split(), *packaged.split(), *TWO)
    assert done.returncode == 0, done.stderr
    assert all(line.startswith("twofold: modes lost") for line in done.stderr.splitlines())
    assert len(done.stderr.splitlines()) <= 1  # one process warns
    assert done.stdout.count("results in") == 1
    [folder] = (tmp_path / "runs" / experiment).iterdir()
    metrics = read_rows(folder / "metrics.csv")
    losses = [row["step"] for row in metrics if row.get("train/loss") or row.get("train/d_loss")]
    assert losses == ["0", "1", "2", "3"]
    assert [path.name for path in (folder / "checkpoints").glob("step=*")] == ["step=000004.ckpt"]
    assert len(list(folder.glob("wandb/offline-run-*"))) == 1
    assert not list(folder.rglob(".*.part"))
    if "lightning_modules.GAN" in config.read_text():
        assert {path.name for path in (folder / "images").iterdir()} == {f"step_00000{n}.png" for n in (0, 2, 4)}
        assert (folder / "interpolation.png").exists()
        evaluated = [row["step"] for row in metrics if row.get("quality/fid") or row.get("quality/kl")]
        assert evaluated == ["2"]


@slow
@pytest.mark.parametrize(
    ("experiment", "options", "kills"),
    [
        ("palindrome_lstm", shlex.join(GROWING), [{"KILL": "step 12"}]),
        *(
            (
                name,
                "--data.source packaged --data.batch_size 301 --trainer.max_steps 9 --checkpoint.every_n_train_steps 3",
                [{"KILL": "step 4"}, {"KILL": "checkpoint 6", "KILL_RANK": "0"}],
            )
            for name in ("gan", "wgan_gp")
        ),
    ],
)
def test_killed_and_resumed_run_ends_with_the_same_bits(
    tmp_path: Path, twofold: Twofold, experiment: str, options: str, kills: list[dict[str, str]]
) -> None:
    command = ("fit", "-c", with_short_intervals(experiment, tmp_path), *options.split(), *TWO, *KILLER)
    undisturbed = folder_of_run(twofold, tmp_path / "undisturbed", *command)
    for kill in kills:
        assert twofold(tmp_path, *command, **kill, WANDB_MODE="disabled").returncode == -signal.SIGKILL
        [folder] = (tmp_path / "runs" / experiment).iterdir()
        command = resume(folder)
    assert twofold(tmp_path, *command, WANDB_MODE="disabled").returncode == 0
    assert differences(undisturbed, folder) == []


@pytest.mark.parametrize(
    ("name", "rank", "exit_code"),
    [
        ("SIGTERM", 1, 143),
        pytest.param("SIGTERM", 0, 143, marks=slow),
        pytest.param("SIGINT", 0, 130, marks=slow),
        pytest.param("SIGINT", 1, 130, marks=slow),
    ],
)
def test_signal_to_one_process_stops_both_after_the_same_batch(
    tmp_path: Path, twofold: Twofold, name: str, rank: int, exit_code: int
) -> None:
    kill = {"KILL": "step 7", "KILL_BY": name, "KILL_RANK": str(rank)}
    stopped = twofold(tmp_path, *FIT_LSTM, *TWO, **kill, WANDB_MODE="disabled")
    assert stopped.returncode == exit_code, stopped.stderr
    last = stopped.stderr.strip().splitlines()[-1]
    assert last.startswith(f"twofold: stopped by {name} after 8 batches; resume with: twofold fit -c runs/")
    assert stopped.stderr.count("stopped by") == 1
    saved = {path.name for path in tmp_path.glob("runs/palindrome_lstm/*/checkpoints/step=*")}
    assert saved == {"step=000005.ckpt", "step=000008.ckpt"}


@pytest.mark.parametrize("rank", [pytest.param(0, marks=slow), 1])
def test_killed_process_ends_the_run(tmp_path: Path, twofold: Twofold, rank: int) -> None:
    died = twofold(tmp_path, *FIT_LSTM, *TWO, KILL="step 12", KILL_RANK=str(rank), WANDB_MODE="disabled")
    [folder] = (tmp_path / "runs" / "palindrome_lstm").iterdir()
    if rank == 1 and died.returncode == 1:  # else Lightning's launcher killed rank 0 first
        assert "another process of this run has died; the last good checkpoint is" in died.stderr
    else:
        assert died.returncode == -signal.SIGKILL
    assert {path.name for path in (folder / "checkpoints").glob("step*")} == {"step=000005.ckpt", "step=000010.ckpt"}
    if rank == 0:
        assert twofold(tmp_path, *resume(folder), WANDB_MODE="disabled").returncode == 0


@slow
def test_exploding_run_ends_both_processes_with_one_line(tmp_path: Path, twofold: Twofold) -> None:
    config = with_short_intervals("gan", tmp_path)
    config.write_text(re.sub(r"lr: [0-9.]+", "lr: 1.0e+30", config.read_text()))
    options = "--data.source packaged --data.batch_size 33 --trainer.max_steps 20 --checkpoint.every_n_train_steps 1"
    exploded = twofold(tmp_path, "fit", "-c", config, *options.split(), *TWO, WANDB_MODE="disabled")
    assert exploded.returncode == 1, exploded.stderr
    last = exploded.stderr.splitlines()[-1]
    assert re.match(r"twofold: the run failed: after \d+ batch(es)? .+ is (nan|-?inf|not finite); ", last), last
    assert exploded.stderr.count("the run failed") == 1


@slow
@pytest.mark.parametrize(("experiment", "batch_size", "steps"), [("digit_classifier", 33, 5), ("wgan_gp", 8, 3)])
def test_two_processes_evaluate_as_one_does(
    tmp_path: Path, twofold: Twofold, experiment: str, batch_size: int, steps: int
) -> None:
    small = ("--data.source", "packaged", "--data.batch_size", batch_size, "--trainer.max_steps", steps)
    folder = folder_of_run(twofold, tmp_path, "fit", "-c", CONFIGS / f"{experiment}.yaml", *small)
    tables = {}
    for devices in (1, 2):
        for subcommand in ("validate", "test", "predict"):
            options = ("--trainer.devices", devices, "--trainer.accelerator", "cpu")
            done = twofold(tmp_path, subcommand, *resume(folder)[1:], *options, WANDB_MODE="disabled")
            assert (done.returncode, done.stderr) == (0, "")
            name = "predictions" if subcommand == "predict" else subcommand
            tables[devices, name] = read_rows(folder / f"{name}.csv")
    assert tables[1, "test"]
    for name in ("validate", "test", "predictions"):
        for row, expected in zip(tables[2, name], tables[1, name], strict=True):
            assert text_of(row) == text_of(expected)
            assert numbers_of(row) == pytest.approx(numbers_of(expected), rel=1e-5)
    assert len(tables[2, "predictions"]) == (1000 if experiment == "digit_classifier" else 0)


@slow
def test_torchrun_on_two_nodes(tmp_path: Path, twofold: Twofold, free_port: int) -> None:
    two_nodes = ("--trainer.accelerator", "cpu", "--trainer.num_nodes", 2, "--trainer.devices", 1)
    killed = torchrun(twofold, tmp_path, free_port, *FIT_LSTM, *two_nodes, KILL="step 12")
    assert all(node.returncode != 0 for node in killed)
    [folder] = (tmp_path / "runs" / "palindrome_lstm").iterdir()

    resumed = torchrun(twofold, tmp_path, free_port, *resume(folder))
    assert [node.returncode for node in resumed] == [0, 0], resumed
    assert [node.stdout.count("results in") for node in resumed] == [1, 0]
    on_one_machine = folder_of_run(twofold, tmp_path / "one_machine", *FIT_LSTM, *TWO)
    assert set(differences(on_one_machine, folder)) == {"config.yaml differs"}

    refused = torchrun(twofold, tmp_path, free_port, *resume(folder), "--seed_everything", 2)
    message = "--seed_everything was 1 in this run and can't become 2"
    assert [node.stderr.count(message) for node in refused] == [1, 0]


SLURM = {"JOB_ID": "1", "NTASKS": "2", "NTASKS_PER_NODE": "2", "JOB_NAME": "x"}
SLURM |= {"PROCID": "0", "LOCALID": "0", "NODEID": "0"}


@slow
@pytest.mark.parametrize(
    ("options", "environment", "message"),
    [
        (
            ("--trainer.accelerator", "cpu"),
            {f"SLURM_{name}": value for name, value in SLURM.items()},
            "2 processes were started, but the config has 1; write --trainer.num_nodes",
        ),
        (("--data.batch_size", 1, *TWO), {}, "a batch of 1 can't be split over 2 processes; choose a batch_size"),
    ],
    ids=["more processes than configured", "fewer rows than processes"],
)
def test_impossible_number_of_processes_is_refused_once(
    tmp_path: Path, twofold: Twofold, options: tuple[object, ...], environment: dict[str, str], message: str
) -> None:
    refused = twofold(tmp_path, "fit", "-c", LSTM, *options, **environment)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert refused.stderr.startswith(f"twofold: {message}")
    assert not list(tmp_path.glob("runs/*/*"))


def test_slurm_script_starts_as_many_processes_as_it_asks_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = ROOT / "scripts" / "slurm.sh"
    directives = dict(re.findall(r"^#SBATCH --([a-z-]+)(?:=(\S+))?$", script.read_text(), re.M))
    assert directives["signal"] == "SIGUSR1@90"
    assert "requeue" in directives
    (tmp_path / "srun").symlink_to("/bin/echo")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    done = subprocess.run(["bash", script, "gan.yaml", "--data.root", "x"], capture_output=True, text=True, check=True)
    processes = f"--trainer.num_nodes {directives['nodes']} --trainer.devices {directives['ntasks-per-node']}"
    assert done.stdout == f"twofold fit -c gan.yaml {processes} --data.root x\n"


def torchrun(
    twofold: Twofold, cwd: Path, port: int, *arguments: object, **environment: str
) -> "list[subprocess.CompletedProcess[str]]":
    """Runs `twofold` on two "machines", which are both this one."""
    launcher = ["torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1", "--rdzv-backend", "static"]
    launcher = [sys.executable, "-m", *launcher, "--rdzv-endpoint", f"127.0.0.1:{port}", "--node-rank"]

    def run(rank: int) -> "subprocess.CompletedProcess[str]":
        return twofold(cwd, *arguments, launcher=[*launcher, str(rank)], WANDB_MODE="disabled", **environment)

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(run, range(2)))


def with_short_intervals(experiment: str, folder: Path) -> Path:
    """A copy of the config that draws and evaluates every few batches, on few samples."""
    config = folder / f"{experiment}.yaml"
    text = (CONFIGS / config.name).read_text()
    text = re.sub("every_n_batches: 50+ }", "every_n_batches: 2 }", text)
    few = r"\1every_n_batches: 3, samples: 50, final_samples: 50 }"
    text = text.replace("every_n_batches: 10000, samples: 26000", "every_n_batches: 3, samples: 50")
    config.write_text(re.sub(r"(GenerativeMetrics\s+init_args: { )[^}]*}", few, text))
    return config


def folder_of_run(twofold: Twofold, cwd: Path, *command: object) -> Path:
    """Runs the command to its end."""
    cwd.mkdir(exist_ok=True)
    done = twofold(cwd, *command, WANDB_MODE="disabled")
    assert done.returncode == 0, done.stderr
    [folder] = (cwd / "runs").glob("*/*")
    return folder


def resume(folder: Path) -> tuple[object, ...]:
    return ("fit", "-c", folder / "config.yaml", "--ckpt_path", "last")


def numbers_of(row: dict[str, str]) -> dict[str, float]:
    return {key: float(value) for key, value in row.items() if is_number(value)}


def text_of(row: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in row.items() if not is_number(value)}


def is_number(value: str) -> bool:
    return re.fullmatch(r"[-+.\de]+", value) is not None
