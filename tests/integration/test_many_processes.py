"""The real command with two processes: one run, one set of files, the same numbers, and nobody left behind."""

import csv
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from integration.conftest import COMMAND, PYTHONPATH

from benchmarks.bitwise_diff import differences

Twofold = Callable[..., "subprocess.CompletedProcess[str]"]
ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "configs"
TWO = ("--trainer.devices", "2", "--trainer.accelerator", "cpu")
KILLER = ("--trainer.callbacks+=killer.Killer", "--trainer.log_every_n_steps", "1")
GROWING = shlex.split(
    "--data.batches_per_epoch 7 --data.batch_size 33 --trainer.max_steps 20 --checkpoint.every_n_train_steps 5 "
    "--trainer.callbacks+=callbacks.LengthCurriculum --trainer.callbacks.start 2 --trainer.callbacks.perfect_batches 3"
)

FEW = {
    "palindrome_lstm": "--trainer.max_steps 4",
    "palindrome_rnn": "--trainer.max_steps 4",
    "palindrome_long": "--trainer.max_steps 4",
    "palindrome_recall": "--trainer.max_steps 4",
    "digit_classifier": "--data.source packaged --data.batch_size 33 --trainer.limit_val_batches 2",
    "digit_reader": "--data.source packaged --data.batch_size 33 --trainer.limit_val_batches 2",
    "gan": "--data.source packaged --data.batch_size 30",
    "gan_long": "--data.source packaged --data.batch_size 30",
    "gan_template": "--data.source packaged --data.batch_size 33",
    "dcgan": "--data.source packaged --data.batch_size 30",
    "hinge_sn": "--data.source packaged --data.batch_size 30",
    "wgan_gp": "--data.source packaged --data.batch_size 33",
}
QUICK = ("gan",)


def test_every_config_is_tried() -> None:
    assert {path.stem for path in CONFIGS.glob("*.yaml")} == {*FEW, "base"}


@pytest.mark.parametrize(
    "experiment", [pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow]) for name in FEW]
)
def test_every_config_just_runs(tmp_path: Path, twofold: Twofold, experiment: str) -> None:
    config = with_more_pictures(experiment, tmp_path)
    options = ("--trainer.max_steps", 4, *FEW[experiment].split(), "--trainer.log_every_n_steps", 1)
    done = twofold(tmp_path, "fit", "-c", config, *options, *TWO)
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) <= 1, "a warning comes from one process"
    assert all(line.startswith("twofold: digits lost") for line in lines), "which is no wonder after three batches"
    assert done.stdout.count("results in") == 1
    [folder] = (tmp_path / "runs" / experiment).iterdir()
    losses = [row["step"] for row in rows(folder / "metrics.csv") if row.get("train/loss") or row.get("train/d_loss")]
    assert losses == ["0", "1", "2", "3"]
    assert [path.name for path in sorted((folder / "checkpoints").glob("step=*"))] == ["step=000004.ckpt"]
    assert len(list(folder.glob("wandb/offline-run-*"))) == 1
    assert not list(folder.rglob(".*.part"))
    if "lightning_modules.GAN" in config.read_text():
        assert {path.name for path in (folder / "images").iterdir()} == {f"step_00000{n}.png" for n in (0, 2, 4)}
        assert (folder / "interpolation.png").exists()
        assert [row["step"] for row in rows(folder / "metrics.csv") if row["quality/fid"]] == ["2"]


@pytest.mark.slow
def test_killed_and_resumed_is_bit_identical(tmp_path: Path, twofold: Twofold) -> None:
    untouched, touched = tmp_path / "untouched", tmp_path / "touched"
    command = ("fit", "-c", CONFIGS / "palindrome_lstm.yaml", *GROWING, *TWO, *KILLER)
    expected = run_of(twofold, untouched, *command)

    touched.mkdir()
    assert twofold(touched, *command, KILL="step 12", WANDB_MODE="disabled").returncode == -signal.SIGKILL
    [folder] = (touched / "runs" / "palindrome_lstm").iterdir()
    resumed = twofold(touched, *going_on(folder), WANDB_MODE="disabled")
    assert (resumed.returncode, resumed.stderr) == (0, "")
    assert differences(expected, folder) == []


@pytest.mark.slow
@pytest.mark.parametrize("experiment", ["gan", "wgan_gp"])
def test_a_gan_killed_and_resumed_is_bit_identical(tmp_path: Path, twofold: Twofold, experiment: str) -> None:
    untouched, touched = tmp_path / "untouched", tmp_path / "touched"
    small = "--data.source packaged --data.batch_size 301 --trainer.max_steps 9 --checkpoint.every_n_train_steps 3"
    command = ("fit", "-c", with_more_pictures(experiment, tmp_path), *small.split(), *TWO, *KILLER)
    untouched.mkdir()
    assert twofold(untouched, *command, WANDB_MODE="disabled").returncode == 0
    [expected] = (untouched / "runs" / experiment).iterdir()
    touched.mkdir()
    assert twofold(touched, *command, KILL="step 4", WANDB_MODE="disabled").returncode == -signal.SIGKILL
    [folder] = (touched / "runs" / experiment).iterdir()
    again = twofold(touched, *going_on(folder), KILL="checkpoint 6", KILL_RANK="0", WANDB_MODE="disabled")
    assert again.returncode == -signal.SIGKILL
    assert twofold(touched, *going_on(folder), WANDB_MODE="disabled").returncode == 0
    assert differences(expected, folder) == []


@pytest.mark.parametrize(
    ("name", "rank", "code"),
    [
        ("SIGTERM", 1, 143),
        pytest.param("SIGTERM", 0, 143, marks=pytest.mark.slow),
        pytest.param("SIGINT", 0, 130, marks=pytest.mark.slow),
        pytest.param("SIGINT", 1, 130, marks=pytest.mark.slow),
    ],
)
def test_a_signal_to_one_process_stops_both_after_the_same_batch(
    tmp_path: Path, twofold: Twofold, name: str, rank: int, code: int
) -> None:
    command = ("fit", "-c", CONFIGS / "palindrome_lstm.yaml", *GROWING, *TWO, *KILLER)
    stopped = twofold(tmp_path, *command, KILL="step 7", KILL_BY=name, KILL_RANK=str(rank), WANDB_MODE="disabled")
    [folder] = (tmp_path / "runs" / "palindrome_lstm").iterdir()
    assert stopped.returncode == code, stopped.stderr
    *_, last = stopped.stderr.strip().splitlines()
    assert last.startswith(f"twofold: stopped by {name} after 8 batches; resume with: twofold fit -c runs/")
    assert stopped.stderr.count("stopped by") == 1
    saved = sorted(path.name for path in (folder / "checkpoints").glob("step=*"))
    assert saved == ["step=000005.ckpt", "step=000008.ckpt"]


@pytest.mark.parametrize("rank", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_a_killed_process_ends_the_run(tmp_path: Path, twofold: Twofold, rank: int) -> None:
    command = ("fit", "-c", CONFIGS / "palindrome_lstm.yaml", *GROWING, *TWO, *KILLER)
    died = twofold(tmp_path, *command, KILL="step 12", KILL_RANK=str(rank), WANDB_MODE="disabled")
    [folder] = (tmp_path / "runs" / "palindrome_lstm").iterdir()
    if rank == 1 and died.returncode == 1:  # else Lightning's launcher was faster to kill rank 0
        assert "another process of this run has died; the last good checkpoint is" in died.stderr
    else:
        assert died.returncode == -signal.SIGKILL
    assert {path.name for path in (folder / "checkpoints").glob("step*")} == {"step=000005.ckpt", "step=000010.ckpt"}
    assert twofold(tmp_path, *going_on(folder), WANDB_MODE="disabled").returncode == 0


@pytest.mark.slow
def test_an_exploding_run_ends_on_both_ranks(tmp_path: Path, twofold: Twofold) -> None:
    config = with_more_pictures("gan", tmp_path)
    config.write_text(re.sub(r"lr: [0-9.]+", "lr: 1.0e+30", config.read_text()))
    options = "--data.source packaged --data.batch_size 33 --trainer.max_steps 20 --checkpoint.every_n_train_steps 1"
    exploded = twofold(tmp_path, "fit", "-c", config, *options.split(), *TWO, WANDB_MODE="disabled")
    assert exploded.returncode == 1, exploded.stderr
    *_, last = exploded.stderr.splitlines()
    assert re.match(r"twofold: the run failed: after \d+ batch(es)? .+ is (nan|-?inf|not finite); ", last), last
    assert exploded.stderr.count("the run failed") == 1


@pytest.mark.slow
def test_one_process_resumes_the_run_of_two(tmp_path: Path, twofold: Twofold) -> None:
    command = ("fit", "-c", CONFIGS / "palindrome_lstm.yaml", *GROWING, *KILLER)
    alone = run_of(twofold, tmp_path / "alone", *command)
    (tmp_path / "two").mkdir()
    assert twofold(tmp_path / "two", *command, *TWO, KILL="step 12", WANDB_MODE="disabled").returncode != 0
    [folder] = (tmp_path / "two" / "runs" / "palindrome_lstm").iterdir()
    resumed = twofold(tmp_path / "two", *going_on(folder), "--trainer.devices", 1, WANDB_MODE="disabled")
    assert resumed.returncode == 0, resumed.stderr
    [warning] = resumed.stderr.strip().splitlines()
    assert warning == "twofold: trainer.devices was 2 and is now 1: the same bits are not promised"
    ours, theirs = rows(alone / "metrics.csv"), rows(folder / "metrics.csv")
    assert [row["step"] for row in ours] == [row["step"] for row in theirs]
    assert [row["train/length"] for row in ours] == [row["train/length"] for row in theirs]
    differ = [
        abs(float(a["train/loss"]) - float(b["train/loss"]))
        for a, b in zip(ours, theirs, strict=True)
        if a["train/loss"]
    ]
    assert len(differ) == 20
    assert max(differ) < 1e-3


@pytest.mark.slow
def test_two_processes_evaluate_as_one_does(tmp_path: Path, twofold: Twofold) -> None:
    command = ("fit", "-c", CONFIGS / "digit_classifier.yaml", "--data.source", "packaged", "--trainer.max_steps", 5)
    folder = run_of(twofold, tmp_path, *command)
    found = []
    for devices in (1, 2):
        numbers = {}
        for subcommand in ("validate", "test", "predict"):
            options = ("--data.batch_size", 33, "--trainer.devices", devices, "--trainer.accelerator", "cpu")
            done = twofold(tmp_path, subcommand, *going_on(folder)[1:], *options)
            assert (done.returncode, done.stderr) == (0, ""), done.stderr
            assert done.stdout.count("twofold") + done.stdout.count(" in ") == 1, done.stdout
            if subcommand != "predict":
                [numbers[subcommand]] = rows(folder / f"{subcommand}.csv")
        found.append((numbers, rows(folder / "predictions.csv")))
    (one, predicted_by_one), (two, predicted_by_two) = found
    for subcommand, split in (("validate", "val"), ("test", "test")):
        assert one[subcommand][f"{split}/accuracy"] == two[subcommand][f"{split}/accuracy"]
        assert float(two[subcommand][f"{split}/loss"]) == pytest.approx(
            float(one[subcommand][f"{split}/loss"]), rel=1e-5
        )
    assert len(predicted_by_one) == 1000
    for name in ("label", "prediction"):
        assert [row[name] for row in predicted_by_one] == [row[name] for row in predicted_by_two]


@pytest.mark.slow
def test_two_processes_evaluate_a_gan_as_one_does(tmp_path: Path, twofold: Twofold) -> None:
    small = "--data.source packaged --data.batch_size 8 --trainer.max_steps 3"
    folder = run_of(twofold, tmp_path, "fit", "-c", CONFIGS / "wgan_gp.yaml", *small.split())
    qualities = []
    for devices in (1, 2):
        options = ("--trainer.devices", devices, "--trainer.accelerator", "cpu")
        assert twofold(tmp_path, "test", *going_on(folder)[1:], *options).returncode == 0
        [quality] = rows(folder / "test.csv")
        qualities.append({name: value for name, value in quality.items() if name.startswith("test/raw/")})
    one, two = qualities
    assert float(one["test/raw/fid"]) > 100
    assert one == two


@pytest.mark.slow
def test_torchrun_on_two_nodes(tmp_path: Path, twofold: Twofold, free_port: int) -> None:
    lstm = ("fit", "-c", CONFIGS / "palindrome_lstm.yaml", *GROWING, *KILLER)
    two_nodes = ("--trainer.accelerator", "cpu", "--trainer.num_nodes", 2, "--trainer.devices", 1)
    killed = torchrun(tmp_path, free_port, *lstm, *two_nodes, KILL="step 12")
    assert all(code != 0 for code, _, _ in killed)
    [folder] = (tmp_path / "runs" / "palindrome_lstm").iterdir()

    resumed = torchrun(tmp_path, free_port, *going_on(folder))
    assert [code for code, _, _ in resumed] == [0, 0], resumed
    assert [out.count("results in") for _, out, _ in resumed] == [1, 0]
    expected = run_of(twofold, tmp_path / "one_machine", *lstm, *TWO)
    assert set(differences(expected, folder)) == {"config.yaml differs"}

    refused = torchrun(tmp_path, free_port, *going_on(folder), "--seed_everything", 2)
    said = "--seed_everything was 1 in this run and can't become 2"
    assert [errors.count(said) for _, _, errors in refused] == [1, 0]


@pytest.mark.slow
def test_a_number_of_processes_that_was_not_started_is_refused(tmp_path: Path, twofold: Twofold) -> None:
    lstm = ("fit", "-c", CONFIGS / "palindrome_lstm.yaml", "--trainer.accelerator", "cpu")
    slurm = {"SLURM_JOB_ID": "1", "SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2", "SLURM_JOB_NAME": "x"}
    slurm |= {f"SLURM_{name}": "0" for name in ("PROCID", "LOCALID", "NODEID")}
    refused = twofold(tmp_path, *lstm, **slurm)
    assert refused.returncode == 2
    [line] = refused.stderr.splitlines()
    assert line.startswith("twofold: 2 processes were started, but the config has 1; write --trainer.num_nodes")
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_a_batch_that_cannot_be_shared_is_refused_once(tmp_path: Path, twofold: Twofold) -> None:
    refused = twofold(tmp_path, "fit", "-c", CONFIGS / "palindrome_lstm.yaml", "--data.batch_size", 1, *TWO)
    assert refused.returncode == 2
    [line] = refused.stderr.splitlines()
    assert line.startswith("twofold: a batch of 1 can't be split over 2 processes; choose a batch_size")
    assert not list(tmp_path.glob("runs/*/*"))


def test_the_slurm_script_is_one(tmp_path: Path, twofold: Twofold) -> None:
    script = ROOT / "scripts" / "slurm.sh"
    assert subprocess.run(["bash", "-n", script], capture_output=True).returncode == 0
    text = script.read_text()
    directives = dict(re.findall(r"^#SBATCH --([a-z-]+)(?:=(\S+))?$", text, re.M))
    assert directives["signal"] == "SIGUSR1@90"
    assert "requeue" in directives
    bin = tmp_path / "bin"
    bin.mkdir()
    (bin / "srun").write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/asked\n')
    (bin / "srun").chmod(0o755)
    environment = {**os.environ, "PATH": f"{bin}:{os.environ['PATH']}"}
    given = [str(CONFIGS / "palindrome_lstm.yaml"), "--data.length", "9"]
    assert subprocess.run(["bash", script, *given], env=environment, cwd=tmp_path).returncode == 0
    asked = (tmp_path / "asked").read_text().splitlines()
    settings = dict(zip(asked[4::2], asked[5::2], strict=True))
    assert settings["--trainer.num_nodes"] == directives["nodes"]
    assert settings["--trainer.devices"] == directives["ntasks-per-node"]
    printed = twofold(tmp_path, *asked[1:], "--print_config")
    assert (printed.returncode, printed.stderr) == (0, "")
    assert "length: 9" in printed.stdout
    assert shlex.split("twofold fit -c") == asked[:3]


def torchrun(cwd: Path, port: int, *arguments: object, **environment: str) -> list[tuple[int, str, str]]:
    """Runs `twofold` on two "machines", which are both this one; returns each one's exit code, stdout and stderr."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("WANDB_", "PL_", "TWOFOLD"))}
    environment = {
        **inherited,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": PYTHONPATH,
        "WANDB_MODE": "disabled",
        **environment,
    }
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1"]
    launcher += ["--rdzv-backend", "static", "--rdzv-endpoint", f"127.0.0.1:{port}"]
    nodes = [
        subprocess.Popen(
            [*launcher, "--node-rank", str(rank), str(COMMAND), *map(str, arguments)],
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    ended = [node.communicate(timeout=200) for node in nodes]
    return [(node.returncode, *outputs) for node, outputs in zip(nodes, ended, strict=True)]


def with_more_pictures(experiment: str, folder: Path) -> Path:
    """The experiment's config, looked at more often and by fewer samples."""
    config = folder / f"{experiment}.yaml"
    text = (CONFIGS / config.name).read_text()
    text = re.sub("every_n_batches: 50+ }", "every_n_batches: 2 }", text)
    few = r"\1every_n_batches: 3, samples: 50, final_samples: 50 }"
    config.write_text(re.sub(r"(GenerativeMetrics\s+init_args: { )[^}]*}", few, text))
    return config


def run_of(twofold: Twofold, cwd: Path, *command: object) -> Path:
    """The folder of a run that ends as it should."""
    cwd.mkdir(exist_ok=True)
    done = twofold(cwd, *command, WANDB_MODE="disabled")
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    [folder] = (cwd / "runs").glob("*/*")
    return folder


def going_on(folder: Path) -> tuple[object, ...]:
    return ("fit", "-c", folder / "config.yaml", "--ckpt_path", "last")


def rows(table: Path) -> list[dict[str, str]]:
    with table.open(newline="") as file:
        return list(csv.DictReader(file))
