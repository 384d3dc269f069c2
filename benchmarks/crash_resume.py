"""Runs that are killed at random moments end with the bits of one left alone: python -m benchmarks.crash_resume

Each experiment trains once without disturbance. Then it starts again, and SIGKILL ends its process at a random moment,
one in five while it starts, the others while it trains, validates, draws or writes; it goes on by `--ckpt_path last`
and is killed again, some times in a row, until it ends. A process that was quicker than its kill counts for nothing.
What both left is compared: all files byte by byte, and all that the last checkpoint and the best hold of training. Then
the next run of that experiment begins.

Writes benchmarks/results/crash_resume.csv, a row for each experiment, and exits with 1 if anything differed.
"""

import os
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.bitwise_diff import differences
from benchmarks.command import RESULTS, launch
from twofold.errors import OneLineParser, exit_code
from twofold.provenance import CONFIGS
from twofold.run_folder import RunFolder
from twofold.tables import write_rows

TABLE = RESULTS / "crash_resume.csv"
IN_A_ROW = 8
"""Kills of one run before it may end."""
WHILE_STARTING = 0.2
"""The share of kills that are meant for a process before it trains."""

_PALINDROMES = "--data.batches_per_epoch 30 --trainer.max_steps 400 --checkpoint.every_n_train_steps 25"
_DIGITS = "--data.source packaged --data.batch_size 64 --trainer.max_steps 150 --checkpoint.every_n_train_steps 20"
_GAME = f"{_DIGITS} --trainer.log_every_n_steps 5"
EXPERIMENTS = {
    "palindrome_lstm": f"{_PALINDROMES} --data.length 20",
    "palindrome_rnn": f"{_PALINDROMES} --data.length 20",
    "palindrome_long": f"{_PALINDROMES} --data.length 200",
    "palindrome_recall": _PALINDROMES.replace("400", "200"),
    "gan": _GAME,
    "gan_template": _GAME,
    "dcgan": _GAME.replace("150", "40"),
    "wgan_gp": _GAME,
    "hinge_sn": _GAME,
    "digit_classifier": f"{_DIGITS} --trainer.limit_train_batches 25 --trainer.limit_val_batches 2",
}
"""Configs, shortened so that epochs end, pictures are drawn and checkpoints are written all the time."""
OFTEN = {
    "every_n_batches: 500 }": "every_n_batches: 15 }",
    "GenerativeMetrics\n": "GenerativeMetrics\n      init_args: { every_n_batches: 30, samples: 200, final_samples: 500 }\n",  # noqa: E501
}
"""What configs say about pictures and metrics, and what is put there instead."""


@dataclass
class Summary:
    """What became of one experiment.

    Attributes:
        kills: unfinished runs that were ended by SIGKILL.
        starting: so many of the kills came before the process trained.
        ending: so many came after the last batch.
        runs: that were compared with the undisturbed one.
        differences: between them, in words.
    """

    kills: int = 0
    starting: int = 0
    ending: int = 0
    runs: int = 0
    differences: list[str] = field(default_factory=list)


def soak(experiment: str, kills: int, seed: int, folder: Path) -> Summary:
    """Kills runs of a shipped config until there were so many kills; the moments depend on the seed."""
    moments = random.Random(f"{seed} {experiment}")
    config = folder / f"{experiment}.yaml"
    text = (CONFIGS / config.name).read_text()
    for usual, often in OFTEN.items():
        text = text.replace(usual, often)
    config.write_text(text)
    command = ["-c", str(config), *EXPERIMENTS[experiment].split()]
    process, started = _start(folder / "undisturbed", command), time.monotonic()
    _wait_until_it_trains(process, folder / "undisturbed", None)
    began = time.monotonic()
    _finish(process)
    starting, training = began - started, time.monotonic() - began
    expected = _run_in(folder / "undisturbed")
    assert expected is not None, "a run that ended well has left its folder"
    summary = Summary()
    while summary.kills < kills:
        runs = folder / f"killed {summary.runs}"
        for _ in range(min(IN_A_ROW, kills - summary.kills)):
            run = _run_in(runs)
            before = None if run is None else _noted_at(run)
            left = 1.0 if run is None else 1 - run.step / expected.step
            process = _start(runs, _going_on(run) or command)
            if moments.random() < WHILE_STARTING:
                time.sleep(moments.uniform(0, starting))
            else:
                _wait_until_it_trains(process, runs, before)
                time.sleep(moments.uniform(0, training * left))
            process.kill()
            process.communicate()
            run = _run_in(runs)
            if run is not None and run.state == "finished":
                break
            summary.kills += 1
            summary.starting += run is None or _noted_at(run) == before
            summary.ending += (
                run is not None and (run.path / f"checkpoints/.step={expected.step:06d}.ckpt.part").exists()
            )
        _finish(_start(runs, _going_on(_run_in(runs)) or command))
        actual = _run_in(runs)
        assert actual is not None, "a run that ended well has left its folder"
        summary.runs += 1
        summary.differences += differences(expected.path, actual.path)
    return summary


def _start(runs: Path, command: Sequence[str]) -> "subprocess.Popen[str]":
    return launch(runs, "fit", *command, stderr=subprocess.PIPE, OMP_NUM_THREADS="1", WANDB_MODE="disabled")


def _wait_until_it_trains(process: subprocess.Popen[str], runs: Path, before: int | None) -> None:
    """Until it notes in `run.json` that it does, or ends."""
    while process.poll() is None:
        run = _run_in(runs)
        if run is not None and "threads" in run.facts and _noted_at(run) != before:
            return
        time.sleep(0.02)


def _finish(process: subprocess.Popen[str]) -> None:
    """Waits until it ends well.

    Raises:
        RuntimeError: when it doesn't; with what it complained.
    """
    _, complaint = process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"a run ended with {process.returncode}: {complaint}")


def _run_in(runs: Path) -> RunFolder | None:
    """The only run there, if there is one yet."""
    found = [RunFolder(path.parent) for path in runs.glob("*/*/config.yaml")]
    found = [run for run in found if run.facts]
    assert len(found) <= 1, "each command goes on with the run before"
    return found[0] if found else None


def _noted_at(run: RunFolder) -> int:
    """When `run.json` was written last."""
    return (run.path / "run.json").stat().st_mtime_ns


def _going_on(run: RunFolder | None) -> list[str] | None:
    return None if run is None else ["-c", str(run.config), "--ckpt_path", "last"]


def main(arguments: Sequence[str] | None = None, table: Path = TABLE) -> int:
    """Soaks all experiments, prints and writes the table; returns the exit code."""
    parser = OneLineParser(
        prog="python -m benchmarks.crash_resume", description="kills runs at random moments and compares"
    )
    parser.add_argument("--kills", type=int, default=200, help="in all")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--experiments", nargs="+", default=list(EXPERIMENTS), choices=EXPERIMENTS)
    options = parser.parse_args(arguments)
    share = -(-options.kills // len(options.experiments))
    rows = []
    with TemporaryDirectory() as folder, ThreadPoolExecutor(max(1, (os.cpu_count() or 1))) as at_once:
        folders = {name: Path(folder, name) for name in options.experiments}
        for path in folders.values():
            path.mkdir()
        summaries = {name: at_once.submit(soak, name, share, options.seed, path) for name, path in folders.items()}
        for name, future in summaries.items():
            summary = future.result()
            rows.append(
                {
                    "experiment": name,
                    "kills": summary.kills,
                    "while starting": summary.starting,
                    "after the last batch": summary.ending,
                    "runs": summary.runs,
                    "differences": len(summary.differences),
                    "which": "; ".join(summary.differences),
                }
            )
            print(", ".join(f"{value} {column}" for column, value in rows[-1].items() if value != ""), flush=True)
            write_rows(table, list(rows[0]), rows)
    return 1 if any(row["differences"] for row in rows) else 0


if __name__ == "__main__":
    sys.exit(exit_code("crash_resume", main, None))
