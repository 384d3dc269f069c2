"""Killed at random moments, runs end with the same bits as undisturbed ones: python -m benchmarks.crash_resume

Each experiment trains once without disturbance. Then it trains again, and SIGKILL ends it at a random moment, one time
in five while it starts, else while it trains, validates, draws or writes. It resumes by `--ckpt_path last` and is
killed again, up to eight times, until it ends. A run that ended before its kill doesn't count. What both left is
compared: all files byte by byte, and the state of training in the last and the best checkpoint.

Writes crash_resume.csv, a row per experiment, and exits with 1 if anything differed.
"""

import os
import random
import subprocess
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from benchmarks.bitwise_diff import differences
from benchmarks.command import launch, run
from benchmarks.results import Results
from scripts.train_runs import read_shipped
from twofold.run_folder import RunFolder

KILLS_IN_A_ROW = 8
KILLS_WHILE_STARTING = 0.2
"""The share of kills that are meant for a process before it trains."""

_PALINDROMES = "--data.batches_per_epoch 30 --trainer.max_steps 400 --checkpoint.every_n_train_steps 25"
_MNIST = "--data.source packaged --data.batch_size 64 --trainer.max_steps 150 --checkpoint.every_n_train_steps 20"
_GAN = f"{_MNIST} --trainer.log_every_n_steps 5"
EXPERIMENTS = {
    "palindrome_lstm": f"{_PALINDROMES} --data.length 20",
    "palindrome_rnn": f"{_PALINDROMES} --data.length 20",
    "palindrome_long": f"{_PALINDROMES} --data.length 200",
    "palindrome_recall": _PALINDROMES.replace("400", "200"),
    "flip_flop": f"{_PALINDROMES} --data.shortest 8",
    "gan": _GAN,
    "gan_template": _GAN,
    "dcgan": _GAN.replace("150", "40"),
    "wgan_gp": _GAN,
    "hinge_sn": _GAN,
    "digit_classifier": f"{_MNIST} --trainer.limit_train_batches 25 --trainer.limit_val_batches 2",
}
"""Configs, shortened so that epochs end, pictures are drawn and checkpoints are written all the time."""
OFTEN = {
    "callbacks.ImageGrid": {"every_n_batches": 15},
    "callbacks.GenerativeMetrics": {"every_n_batches": 30, "samples": 200, "final_samples": 500},
}
"""Arguments of callbacks, so that they work often."""


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--kills", type=int, default=200, help="in all experiments")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--experiments", nargs="+", default=list(EXPERIMENTS), choices=EXPERIMENTS)


def crash_resume(options: Namespace) -> None:
    """All experiments, one per core at a time."""
    results = Results(options.out / "crash_resume.csv", "experiment")
    kills = -(-options.kills // len(options.experiments))
    with TemporaryDirectory() as folder, ThreadPoolExecutor(os.cpu_count()) as pool:
        futures = {name: pool.submit(kill, name, kills, options.seed, Path(folder)) for name in options.experiments}
        for name, future in futures.items():
            results.add({"experiment": name, **future.result()})
    if any(results.has(experiment=name) and not results.has(experiment=name, differences=0) for name in futures):
        raise SystemExit(1)


def kill(experiment: str, kills: int, seed: int, folder: Path) -> dict[str, object]:
    """Kills unfinished runs of a config that many times; the moments depend on the seed. Returns the row's counts."""
    moments = random.Random(f"{seed} {experiment}")
    config, undisturbed = folder / f"{experiment}.yaml", folder / f"{experiment} undisturbed"
    content = read_shipped(experiment)
    for callback in content["trainer"].get("callbacks", []):
        callback.setdefault("init_args", {}).update(OFTEN.get(callback["class_path"], {}))
    config.write_text(yaml.safe_dump(content), encoding="utf-8")
    command = ["-c", str(config), *EXPERIMENTS[experiment].split()]
    process, started = _start(undisturbed, command), time.monotonic()
    _wait_until_it_trains(process, undisturbed, None)
    began = time.monotonic()
    _finish(process)
    starting, training = began - started, time.monotonic() - began
    expected = _run_in(undisturbed)
    assert expected is not None, "a finished run has a folder"
    killed = while_starting = after_last_batch = compared = 0
    found: list[str] = []
    while killed < kills:
        runs = folder / f"{experiment} killed {compared}"
        for _ in range(min(KILLS_IN_A_ROW, kills - killed)):
            run = _run_in(runs)
            before = None if run is None else _last_rows(run)
            left = 1.0 if run is None else 1 - run.step / expected.step
            process = _start(runs, _resume(run) or command)
            if moments.random() < KILLS_WHILE_STARTING:
                time.sleep(moments.uniform(0, starting))
            else:
                _wait_until_it_trains(process, runs, before)
                time.sleep(moments.uniform(0, training * left))
            process.kill()
            process.communicate()
            run = _run_in(runs)
            if run is not None and run.state == "finished":
                break
            killed += 1
            while_starting += run is None or _last_rows(run) == before
            draft = f"checkpoints/.step={expected.step:06d}.ckpt.part"
            after_last_batch += run is not None and (run.path / draft).exists()
        _finish(_start(runs, _resume(_run_in(runs)) or command))
        actual = _run_in(runs)
        assert actual is not None, "a finished run has a folder"
        compared += 1
        found += differences(expected.path, actual.path)
    kinds = {"kills_while_starting": while_starting, "kills_after_last_batch": after_last_batch}
    return {"kills": killed, **kinds, "runs": compared, "differences": len(found), "where": "; ".join(found)}


def _start(runs: Path, command: Sequence[str]) -> "subprocess.Popen[str]":
    return launch(runs, "fit", *command, stderr=subprocess.PIPE, OMP_NUM_THREADS="1", WANDB_MODE="disabled")


def _wait_until_it_trains(process: "subprocess.Popen[str]", runs: Path, before: int | None) -> None:
    """Until it writes rows, or ends."""
    while process.poll() is None:
        run = _run_in(runs)
        if run is not None and _last_rows(run) != before:
            return
        time.sleep(0.02)


def _finish(process: "subprocess.Popen[str]") -> None:
    """Waits for the end.

    Raises:
        RuntimeError: when the exit code isn't 0.
    """
    _, message = process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"a run ended with {process.returncode}: {message}")


def _run_in(runs: Path) -> RunFolder | None:
    """The only run there, if there is one yet."""
    found = [RunFolder(path.parent) for path in runs.glob("*/*/config.yaml")]
    found = [run for run in found if run.facts]
    assert len(found) <= 1, "each command resumes the run before"
    return found[0] if found else None


def _last_rows(run: RunFolder) -> int | None:
    """When `metrics.csv` was written, which a resumed run does before its first batch; None if there is none."""
    try:
        return (run.path / "metrics.csv").stat().st_mtime_ns
    except FileNotFoundError:
        return None


def _resume(run: RunFolder | None) -> list[str] | None:
    return None if run is None else ["-c", str(run.config), "--ckpt_path", "last"]


BENCHMARKS = {"crash_resume": crash_resume}
main = partial(run, "crash_resume", __doc__, BENCHMARKS, add_options=add_options)

if __name__ == "__main__":
    sys.exit(main())
