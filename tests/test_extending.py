"""A run that goes on is the run that was asked for at once, whatever ended it; or it is refused."""

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import BatchSizeFinder

from lightning_modules import PalindromeLSTM
from twofold.main import main
from twofold.tables import read_rows

Twofold = Callable[..., tuple[int, str, str]]
Command = Callable[[str], tuple[int, str]]

EPOCHS_OF_10 = (
    "-c palindrome_lstm --model.hidden_size 8 --data.length 5 --data.batch_size 16 --data.batches_per_epoch 10 "
    "--data.validation_batches 1 --trainer.log_every_n_steps 3 --checkpoint.every_n_train_steps 4 "
    "--checkpoint.save_top_k -1 --trainer.enable_progress_bar false --trainer.logger twofold.loggers.CSVLogger "
)
UNVALIDATED = "--trainer.limit_val_batches 0 --checkpoint.monitor null"
CURRICULUM = "--trainer.callbacks+=callbacks.LengthCurriculum --trainer.callbacks.start 3"
EARLY = (
    "--trainer.max_steps 200 --trainer.max_epochs 20 --trainer.callbacks+=EarlyStopping --trainer.callbacks.mode max "
    "--trainer.callbacks.monitor {} --trainer.callbacks.patience {}"
)

BROKEN_OFF = "--trainer.callbacks.min_delta 9 --trainer.max_steps 25"
"""`EarlyStopping` would end the run after 30 batches, and looks at the epoch that is broken off, too."""


class LogsWithoutStep(Callback):
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert trainer.logger is not None
        trainer.logger.log_metrics({"started": 1.0})

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        assert trainer.logger is not None
        trainer.logger.log_metrics({"mine": float(trainer.global_step)})
        odd: Any = {"flag": True, "text": "a text", "step": 0.5, "tensor": torch.ones(())}
        trainer.logger.log_metrics(odd, step=trainer.global_step - 1)


class Accumulates(Callback):
    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        trainer.accumulate_grad_batches = 1 + trainer.current_epoch


RELU = torch.nn.ReLU()


class WithObjects(Callback):
    def __init__(self, activation: torch.nn.Module = RELU, dtype: torch.dtype | str = torch.float32) -> None:
        assert isinstance(activation, torch.nn.ReLU)


class FindsBatchSize(PalindromeLSTM):
    def configure_callbacks(self) -> Callback:
        return BatchSizeFinder()


def stop_at(batch: int, hook: str = "on_train_batch_end") -> str:
    return f"--trainer.callbacks+=anybodys.StopAt --trainer.callbacks.batch {batch} --trainer.callbacks.hook {hook}"


@pytest.fixture
def fit(twofold: Twofold) -> Command:
    """`fit(options)` returns the exit code, and the run's folder or what is printed instead."""

    def run(options: str) -> tuple[int, str]:
        code, said, complained = twofold(f"fit {options}")
        last = said.splitlines()[-1:] or [complained.strip()]
        return code, str(Path(last[0].removeprefix("results in ")).absolute()) if "results" in said else last[0]

    return run


def resume(folder: str | Path, options: str = "") -> str:
    return f"-c {folder}/config.yaml --ckpt_path last {options}"


def weights_and_moments(folder: str) -> tuple[int, list[torch.Tensor]]:
    state = torch.load(Path(folder) / "checkpoints" / "last.ckpt", weights_only=True)
    moments = [moment for each in state["optimizer_states"][0]["state"].values() for moment in each.values()]
    return state["global_step"], [*state["state_dict"].values(), *moments]


def assert_same(folder: str, expected: str, rows: bool = True) -> None:
    (steps, tensors), (all_steps, all_tensors) = weights_and_moments(folder), weights_and_moments(expected)
    assert steps == all_steps
    assert all(map(torch.equal, tensors, all_tensors))
    if rows:
        assert (Path(folder) / "metrics.csv").read_text() == (Path(expected) / "metrics.csv").read_text()


def limits(steps: int, epochs: int) -> str:
    return f"--trainer.max_steps {steps} --trainer.max_epochs {epochs}"


@pytest.mark.parametrize(
    ("first", "then", "options"),
    [
        (limits(50, 1), limits(50, 2), ""),
        (limits(50, 1), limits(50, 3), UNVALIDATED),
        (limits(-1, 1), limits(-1, 3), ""),
        (limits(7, -1), limits(25, -1), f"{UNVALIDATED} {CURRICULUM}"),
        (limits(10, -1), limits(25, -1), ""),
        (limits(15, 2), limits(30, 3), ""),
        (limits(20, 2), limits(30, 3), "--trainer.val_check_interval 5"),
        (limits(7, 1), limits(25, 3), "--trainer.check_val_every_n_epoch 2"),
        (EARLY.format("val/accuracy", 1), EARLY.format("val/accuracy", 3), ""),
        (
            f"{EARLY.format('val/accuracy', 2)} {BROKEN_OFF}",
            f"{EARLY.format('val/accuracy', 2)} {BROKEN_OFF[:-2]}60",
            "",
        ),
        (EARLY.format("val/accuracy", 1), EARLY.format("val/accuracy", 3), "--trainer.val_check_interval 5"),
        (EARLY.format("train/accuracy", 1), EARLY.format("train/accuracy", 3), UNVALIDATED),
    ],
)
def test_extending_a_limit_equals_asking_at_once(fit: Command, first: str, then: str, options: str) -> None:
    _, at_once = fit(f"{EPOCHS_OF_10} {options} {then}")
    code, folder = fit(f"{EPOCHS_OF_10} {options} {first}")
    assert code == 0
    then = then.replace("--trainer.callbacks+=EarlyStopping", "")
    assert fit(resume(folder, then)) == (0, folder)
    assert_same(folder, at_once)


@pytest.mark.parametrize(
    ("batch", "hook", "limit"),
    [
        (7, "on_train_batch_end", limits(25, -1)),
        (10, "on_train_batch_start", limits(50, 3)),
        (10, "on_validation_end", limits(50, 3)),
        (20, "on_train_epoch_end", limits(50, 3)),
    ],
)
def test_a_stopped_run_goes_on_without_what_stopped_it(fit: Command, batch: int, hook: str, limit: str) -> None:
    _, at_once = fit(f"{EPOCHS_OF_10} {limit}")
    _, folder = fit(f"{EPOCHS_OF_10} {limit} {stop_at(batch, hook)}")
    assert "a callback stopped it; to train on, change --trainer.callbacks" in fit(resume(folder))[1]
    assert fit(resume(folder, "--trainer.callbacks null")) == (0, folder)
    assert_same(folder, at_once, rows=False)  # the stopped one logged its last batch and validated after it


@pytest.mark.parametrize(
    ("options", "at"),
    [
        (limits(25, 3), 4),
        (limits(25, 3), 20),
        (limits(-1, 3), 10),
        (EARLY.format("val/accuracy", 3), 20),
        (EARLY.format("val/accuracy", 1), 1000),  # after its last batch
    ],
)
def test_a_killed_run_goes_on_to_the_same_end(fit: Command, options: str, at: int) -> None:
    _, untouched = fit(f"{EPOCHS_OF_10} {options} --checkpoint.every_n_train_steps 2")
    killed = shutil.copytree(untouched, Path(untouched).with_name("killed"))
    for path in (killed / "checkpoints").iterdir():
        if path.stem == "last" or (path.stem[5:].isdigit() and int(path.stem[5:]) > at):
            path.unlink()
    (killed / "run.json").write_text('{"id": "killed"}')
    assert fit(resume(killed)) == (0, str(killed))
    assert_same(str(killed), untouched)


def test_more_time_goes_on(fit: Command) -> None:
    _, folder = fit(f"{EPOCHS_OF_10} --trainer.max_steps 100000 --trainer.max_time 00:00:00:01")
    before, _ = weights_and_moments(folder)
    for same in ("", "--trainer.max_time 00:00:00:01"):
        code, said = fit(resume(folder, same))
        assert (code, "to train on, add --trainer.max_time with more than 00:00:00:01" in said) == (0, True)
    assert fit(resume(folder, "--trainer.max_time 00:00:00:02")) == (0, folder)
    assert weights_and_moments(folder)[0] > before


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        (limits(12, -1), "--trainer.max_steps with more than 12"),
        (limits(50, 1), "--trainer.max_epochs with more than 1"),
        (limits(10, 1), "--trainer.max_steps with more than 10 and --trainer.max_epochs with more than 1"),
    ],
)
def test_the_advice_names_the_limits_that_ended_the_run(
    twofold: Twofold, fit: Command, options: str, advice: str
) -> None:
    _, folder = fit(f"{EPOCHS_OF_10} {options}")
    assert fit(resume(folder))[1].endswith(f"to train on, add {advice}")
    wanted = [f"--trainer.{name} MORE" for name in ("max_steps", "max_epochs") if name in advice]
    assert twofold("runs")[1].rstrip().endswith(" ".join(["--ckpt_path last", *wanted]))
    for shorter in ("--trainer.max_steps 5", "--trainer.max_epochs 0"):
        code, said = fit(resume(folder, shorter))
        assert (code, f"{shorter.split()[0]} " in said) == (2, True)


@pytest.mark.parametrize(
    ("stop", "least"),
    [
        (stop_at(7), "--trainer.min_steps 40"),
        (stop_at(10, "on_validation_end"), "--trainer.min_epochs 4"),
        (
            "--trainer.callbacks+=callbacks.StopWhenSolved --data.length 2 --model.optimizer.lr 0.5",
            "--trainer.min_steps 40",
        ),
        (f"{EARLY.format('val/accuracy', 1)} --trainer.callbacks.min_delta 1", "--trainer.min_steps 40"),
        ("--trainer.max_time 00:00:00:00", "--trainer.min_epochs 4"),
    ],
)
def test_a_stop_waits_for_the_minimum(fit: Command, stop: str, least: str) -> None:
    _, folder = fit(f"{EPOCHS_OF_10} --trainer.max_steps 60 {stop} {least}")
    assert json.loads((Path(folder) / "run.json").read_text())["step"] == 40
    rows = read_rows(Path(folder) / "metrics.csv")
    validations, others = ([row for row in rows if bool(row["val/loss"]) == is_one] for is_one in (True, False))
    assert len(validations) == 4
    steps = [int(row["step"]) for row in others if row["train/loss"]]
    assert steps[:13] == [*range(2, 39, 3)]
    assert len(steps) <= 14  # the last one, too, if the stop comes with the batch
    assert len(list((Path(folder) / "checkpoints").glob("step=*"))) == 10


@pytest.mark.parametrize(
    "arguments",
    [
        ["--trainer.callbacks+=BatchSizeFinder"],
        ["--trainer.callbacks", "[{class_path: lightning.pytorch.callbacks.BatchSizeFinder}]"],
        ["--trainer.callbacks+=GradientAccumulationScheduler", "--trainer.callbacks.scheduling", "{0: 2}"],
        ["--trainer.callbacks+=LearningRateFinder"],
        ["--trainer.callbacks+=ModelPruning", "--trainer.callbacks.pruning_fn", "l1_unstructured"],
        ["--model", "test_extending.FindsBatchSize"],
        ["--trainer.callbacks+=test_extending.Accumulates", "--trainer.max_steps", "25"],
    ],
)
def test_callbacks_that_prevent_a_resume_are_refused(twofold: Twofold, arguments: list[str]) -> None:
    code, _, complained = twofold(f"fit {EPOCHS_OF_10} --trainer.max_steps 4", *arguments)
    assert (code, complained.count("\n")) == (2, 1)
    assert "makes a resumed run another one; leave it out" in complained or "sets accumulate_grad_batches" in complained


@pytest.mark.parametrize(
    "callback",
    [
        "StochasticWeightAveraging --trainer.callbacks.swa_lrs 0.1 --trainer.callbacks.swa_epoch_start 1",
        "test_extending.WithObjects",
        "test_extending.LogsWithoutStep",
    ],
)
def test_any_other_callback_allows_a_resume(fit: Command, callback: str) -> None:
    at_once, folder = (fit(f"{EPOCHS_OF_10} --trainer.max_steps {n} --trainer.callbacks+={callback}") for n in (25, 20))
    assert fit(resume(folder[1], "--trainer.max_steps 25")) == (0, folder[1])
    assert_same(folder[1], at_once[1], rows="Logs" not in callback)  # a resume starts once more


@pytest.mark.parametrize("closed", ["pipe", "stdout"])
def test_that_nobody_reads_the_output_is_no_failure(
    twofold: Twofold, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closed: str
) -> None:
    read, write = os.pipe()
    os.close(read)
    with open(write, "w", encoding="utf-8") as unread:
        for name in ("stdout", "__stdout__"):
            monkeypatch.setattr(sys, name, unread if closed == "pipe" else None)
        assert main(f"fit {EPOCHS_OF_10} --trainer.max_steps 12".split()) == 0
        sys.stdout.close()
    (run,) = tmp_path.glob("runs/*/*/run.json")
    assert json.loads(run.read_text())["state"] == "finished"
    assert (run.parent / "checkpoints" / "last.ckpt").is_file()
