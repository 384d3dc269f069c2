"""The command line as a newcomer meets it: every mistake gets one line, and Lightning's own switches work."""

import csv
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

CONFIGS = Path(__file__).parents[1] / "configs"
LSTM, GAN, RNN, CLASSIFIER, RECALL, LONG = (
    str(CONFIGS / f"{name}.yaml")
    for name in ("palindrome_lstm", "gan", "palindrome_rnn", "digit_classifier", "palindrome_recall", "palindrome_long")
)
Twofold = Callable[..., tuple[int, str, str]]


def fitted(twofold: Twofold, *arguments: object) -> Path:
    """The folder of a short run."""
    steps = () if "--trainer.max_steps" in arguments else ("--trainer.max_steps", 4)
    code, said, complained = twofold("fit", "-c", LSTM, *steps, *arguments)
    assert (code, complained) == (0, "")
    folder = Path(said.splitlines()[-1].removeprefix("results in "))
    assert (folder / "config.yaml").is_file()
    return folder


MISTAKES = [
    ("frobnicate", "'frobnicate' is not a command; write one of fit, validate, test, predict, runs"),
    ("runs now", "takes no arguments, but got 'now'"),
    ("fit", "which experiment? write: twofold fit -c configs/palindrome_lstm.yaml"),
    ("test --ckpt_path last", "which experiment? write: twofold test -c configs/palindrome_lstm.yaml"),
    ("fit -c", "-c/--config: expected one argument"),
    ("fit -c nowhere.yaml", "there is no config file"),
    ("fit -c .", "there is no config file"),
    ("fit -c torn.yaml", "the config is not YAML, see line 2, column 4"),
    ("fit -c empty.yaml", "the config says no model or data; start from one of configs/"),
    (f"fit -c {CONFIGS}/base.yaml", "the config says no model or data; start from one of configs/"),
    ("fit -c unfiled.yaml", "lacks the key experiment"),
    ("fit -c modle.yaml", "there is no setting --modle here; did you mean --model?"),
    ("fit -c hiden.yaml", "there is no setting --model.hiden_size here; did you mean --model.hidden_size?"),
    ("fit -c unknown_class.yaml", "has no attribute 'PalindromLSTM'"),
    (f"fit -c {LSTM} --trainer.max_stepz 3", "no setting --trainer.max_stepz here; did you mean --trainer.max_steps?"),
    (f"fit -c {LSTM} --data.lenght 3", "no setting --data.lenght here; did you mean --data.length?"),
    (f"fit -c {LSTM} --xyzzy 3", "no setting --xyzzy here; --print_config shows the settings there are"),
    (f"fit -c {GAN} --data.length 20", "no setting --data.length here; --print_config shows"),
    (f"fit -c {LSTM} --model.optimizer.lrr 3", "no setting --model.optimizer.lrr here"),
    (f"fit -c {LSTM} --trainer.max_steps abc", "--trainer.max_steps can't be abc; write a whole number"),
    (f"fit -c {LSTM} --trainer.max_steps -7", "max_steps"),
    (f"fit -c {LSTM} --data.length abc", "--data.length can't be abc; write a whole number"),
    (f"fit -c {LSTM} --data.length 1", "length is 1; write 2 or more"),
    (f"fit -c {RNN} --data.length 1", "length is 1; write 2 or more"),
    (f"fit -c {LSTM} --data.kind frsh", "--data.kind can't be frsh; write fresh or fixed"),
    (f"fit -c {LSTM} --model.init forget_lug", "write one of torch, forget_one, forget_log, chrono"),
    (f"fit -c {LSTM} --model.optimizer.lr abc", "--model.optimizer.lr can't be abc; write a number"),
    (f"fit -c {LSTM} --model.optimizer SGDD", "--model.optimizer can't be SGDD; write a class with its module"),
    (f"fit -c {LSTM} --model Foo", "--model can't be Foo; write a class with its module"),
    (f"fit -c {LSTM} --model nowhere.Foo", "No module named 'nowhere'"),
    (f"fit -c {LSTM} --trainer.callbacks+=Foo", "--trainer.callbacks can't be Foo; write a class with its module"),
    (f"fit -c {LSTM} --trainer.accelerator foo", "accelerator='foo'"),
    (
        f"fit -c {LSTM} --ckpt_path last --trainer.fast_dev_run true",
        "fast_dev_run tries the code out from fresh weights; leave --ckpt_path out",
    ),
    (f"fit -c {LSTM} --seed_everything false", "--seed_everything can't be False; write a whole number"),
    (f"fit -c {LSTM} --seed_everything -5", "--seed_everything can't be -5; write a whole number from 0 to 4294967295"),
    (f"fit -c {LSTM} --experiment ../up", "experiment '../up' names a folder; write letters"),
    (f"fit -c {LSTM} --checkpoint.keep 0", "keep is 0; write 1 or more"),
    (
        f"fit -c {LSTM} --trainer.callbacks+=callbacks.LengthCurriculum --trainer.callbacks.strt 3",
        "no setting --trainer.callbacks.strt here; did you mean --trainer.callbacks.start?",
    ),
    (
        f"fit -c {LSTM} --trainer.callbacks+=callbacks.LengthCurriculum --trainer.callbacks.start 50",
        "the curriculum starts at length 50, above its target 20",
    ),
    (
        f"fit -c {LSTM} --trainer.callbacks+=callbacks.LengthCurriculum --trainer.callbacks.start 30",
        "the curriculum starts at length 30, above its target 20",
    ),
    (
        f"fit -c {LSTM} --trainer.callbacks+=callbacks.LengthCurriculum --trainer.callbacks.factor 1",
        "the curriculum's factor is 1.0; write a number above 1",
    ),
    (
        f"fit -c {LSTM} --trainer.callbacks+=callbacks.LengthCurriculum --trainer.callbacks.patience 0",
        "the curriculum's patience is 0; write 1 or more",
    ),
    (
        f"fit -c {LSTM} --trainer.callbacks+=callbacks.StopWhenSolved --trainer.callbacks.perfect_batches 0",
        "perfect_batches is 0; write 1 or more",
    ),
    (f"fit -c {LSTM} --data.batch_size 0", "batch_size is 0; write a positive number"),
    (f"fit -c {LSTM} --model.hidden_size 0", "hidden_size is 0; write 1 or more"),
    (f"fit -c {RNN} --model.hidden_size 0", "hidden_size is 0; write 1 or more"),
    (
        f"fit -c {LSTM} --model.init orthogonal",
        "init 'orthogonal' is for the RNN; for the LSTM write one of torch, for",
    ),
    (f"fit -c {RNN} --model.init chrono", "init 'chrono' is for the LSTM; for the RNN write one of torch, orthogonal"),
    (
        f"fit -c {RNN} --model.init nothing",
        "init 'nothing' isn't known; for the RNN write one of torch, orthogonal, ide",
    ),
    (f"fit -c {LSTM} --data.target all", "--data.target can't be all; write last or second_half"),
    (f"fit -c {LSTM} --data.test_size 0", "test_size is 0; write a positive number"),
    (f"fit -c {LSTM} --data.test_lengths [5,1]", "a length in test_lengths is 1; write 2 or more"),
    (f"fit -c {LSTM} --data.test_lengths []", "test_lengths is empty; write at least one length"),
    (f"fit -c {RECALL} --data.test_lengths [5]", "test_lengths are for the last digit of fresh palindromes"),
    (f"fit -c {GAN} --model.ema_decay 3", "ema_decay is 3.0; write a number between 0 and 1"),
    (f"fit -c {GAN} --data.source torchvision --data.root /dev/null/x", "choose another root"),
    (f"fit -c {LSTM} --ckpt_path last", "--ckpt_path last goes with a run's own config"),
    (f"fit -c {LSTM} --ckpt_path weights.ckpt", "fit goes on with a whole run, not with weights.ckpt"),
    *(
        (f"{command} -c {LSTM}", f"{command} needs trained weights: add --ckpt_path last, best or a file")
        for command in ("validate", "test", "predict")
    ),
    (f"test -c {LSTM} --ckpt_path last", "--ckpt_path last goes with a run's own config"),
    (f"test -c {LSTM} --ckpt_path weights.ckpt", "weights.ckpt is not a file; write last, best or a checkpoint's path"),
]


@pytest.mark.parametrize(
    ("command", "told"), MISTAKES, ids=[command.replace(f"{CONFIGS}/", "") for command, _ in MISTAKES]
)
def test_a_mistake_gets_one_line_and_leaves_nothing(command: str, told: str, twofold: Twofold, tmp_path: Path) -> None:
    text = Path(LSTM).read_text()
    (tmp_path / "torn.yaml").write_text("model: [1, 2\nfoo: 3\n")
    (tmp_path / "empty.yaml").write_text("")
    (tmp_path / "unfiled.yaml").write_text(text.replace("experiment: palindrome_lstm", ""))
    (tmp_path / "modle.yaml").write_text(text.replace("model:", "modle:"))
    (tmp_path / "hiden.yaml").write_text(text.replace("hidden_size", "hiden_size"))
    (tmp_path / "unknown_class.yaml").write_text(text.replace("PalindromeLSTM", "PalindromLSTM"))
    before = set(tmp_path.iterdir())
    code, said, complained = twofold(*command.split())
    assert (code, said) == (2, "")
    assert complained.count("\n") == 1
    assert complained.startswith("twofold: ")
    assert told in complained
    assert len(complained) < 400
    assert not [path for path in tmp_path.rglob("*") if path not in before and path.is_file()]
    assert not list((tmp_path / "runs").glob("*/*"))


def test_a_run_that_fails_says_so_in_one_line(twofold: Twofold, tmp_path: Path) -> None:
    options = ("--checkpoint.monitor", "nothing", "--data.batches_per_epoch", 2, "--trainer.max_steps", 3)
    code, _, complained = twofold("fit", "-c", LSTM, *options)
    assert code == 1
    assert complained.count("\n") == 1
    assert complained.startswith("twofold: the run failed: checkpoint.monitor is 'nothing'")
    _, listed, _ = twofold("runs")
    assert " failed " in listed


def test_debugging_shows_the_traceback(twofold: Twofold, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWOFOLD_DEBUG", "1")
    with pytest.raises(Exception, match="not a command"):
        twofold("frobnicate")


@pytest.mark.parametrize("steps", ["true", "3"])
def test_fast_dev_run_leaves_nothing(twofold: Twofold, tmp_path: Path, steps: str) -> None:
    for config in (LSTM, GAN):
        source = ("--data.source", "packaged") if config == GAN else ()
        code, _, complained = twofold("fit", "-c", config, *source, "--trainer.fast_dev_run", steps)
        assert (code, complained) == (0, "")
    assert not list(tmp_path.iterdir())


def test_overfit_batches(twofold: Twofold) -> None:
    folder = fitted(twofold, "--trainer.overfit_batches", 1, "--trainer.max_steps", 40, "--data.batch_size", 8)
    assert accuracies(folder)[-1] == 1


def test_limits_on_batches_shorten_the_epoch(twofold: Twofold) -> None:
    folder = fitted(twofold, "--trainer.limit_train_batches", 2, "--trainer.limit_val_batches", 1)
    assert len(column(folder, "val/loss")) == 2


def test_early_stopping(twofold: Twofold) -> None:
    stop = ("--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor=val/loss")
    impatient = ("--trainer.callbacks.min_delta=9", "--trainer.callbacks.patience=1")
    folder = fitted(twofold, "--data.batches_per_epoch", 2, "--trainer.max_steps", 20, *stop, *impatient)
    assert len(column(folder, "val/loss")) == 2
    _, listed, _ = twofold("runs")
    assert "   4  finished" in listed


def test_learning_rates_are_logged(twofold: Twofold) -> None:
    folder = fitted(twofold, "--trainer.callbacks+=LearningRateMonitor", "--trainer.log_every_n_steps", 1)
    assert set(column(folder, "lr-Adam")) == {0.01}


def test_another_optimizer_and_scheduler(twofold: Twofold) -> None:
    optimizer = ("--model.optimizer=SGD", "--model.optimizer.lr=0.5", "--model.lr_scheduler=StepLR")
    schedule = ("--model.lr_scheduler.step_size=2", "--model.lr_scheduler.gamma=0.1")
    monitor = ("--trainer.callbacks+=LearningRateMonitor", "--trainer.log_every_n_steps", 1)
    folder = fitted(twofold, *optimizer, *schedule, *monitor)
    assert column(folder, "lr-SGD") == pytest.approx([0.5, 0.5, 0.05, 0.05])


def test_the_profiler_reports(twofold: Twofold, caplog: pytest.LogCaptureFixture) -> None:
    fitted(twofold, "--trainer.profiler", "simple")
    assert "Profiler Report" in caplog.text


def test_switching_off(twofold: Twofold) -> None:
    code, said, complained = twofold(
        "fit", "-c", LSTM, "--trainer.max_steps", 2, "--trainer.enable_progress_bar", "false"
    )
    assert (code, complained) == (0, "")
    assert len(said.splitlines()) == 1
    assert not (fitted(twofold, "--trainer.enable_checkpointing", "false") / "checkpoints").exists()
    without_loggers = fitted(twofold, "--trainer.logger", "false", "--trainer.log_every_n_steps", 1)
    assert {path.name for path in without_loggers.iterdir()} == {"config.yaml", "run.json", ".lock", "checkpoints"}


def test_max_epochs(twofold: Twofold) -> None:
    epochs = ("--trainer.max_steps", -1, "--trainer.max_epochs", 2, "--data.batches_per_epoch", 3)
    fitted(twofold, *epochs)
    _, listed, _ = twofold("runs")
    assert "   6  finished" in listed


def test_one_more_checkpoint_callback(twofold: Twofold) -> None:
    more = ("--trainer.callbacks+=ModelCheckpoint", "--trainer.callbacks.monitor=val/loss")
    folder = fitted(twofold, "--data.batches_per_epoch", 2, *more)
    assert len(list(folder.rglob("epoch=*.ckpt"))) == 1
    assert (folder / "checkpoints" / "step=000004.ckpt").is_file()


def test_a_single_callback_instead_of_a_list(twofold: Twofold) -> None:
    fitted(twofold, "--trainer.callbacks=LearningRateMonitor")


def test_weights_of_another_experiment_are_refused(twofold: Twofold) -> None:
    checkpoint = fitted(twofold) / "checkpoints" / "last.ckpt"
    code, _, complained = twofold("test", "-c", RNN, "--ckpt_path", checkpoint)
    assert code == 2
    assert complained.count("\n") == 1
    assert "don't fit the model of this config" in complained


@pytest.mark.parametrize("command", ["test", "validate", "predict"])
def test_weights_of_another_size_are_refused_with_both_sizes(twofold: Twofold, command: str) -> None:
    checkpoint = fitted(twofold, "--model.hidden_size", 16) / "checkpoints" / "last.ckpt"
    code, _, complained = twofold(command, "-c", LSTM, "--ckpt_path", checkpoint)
    assert code == 2
    assert complained.count("\n") == 1
    assert len(complained) < 400
    assert "don't fit the model of this config: hidden_size is 16 there and 64 here; write -c" in complained


def test_weights_for_another_target_are_refused_with_both(twofold: Twofold) -> None:
    checkpoint = fitted(twofold) / "checkpoints" / "last.ckpt"
    code, _, complained = twofold("test", "-c", LSTM, "--data.target", "second_half", "--ckpt_path", checkpoint)
    assert code == 2
    assert "don't fit the model of this config: target is last there and second_half here; write -c" in complained


def test_what_is_to_be_answered_reaches_the_model(twofold: Twofold) -> None:
    folder = fitted(twofold, "--data.target", "second_half", "--data.batches_per_epoch", 2)
    checkpoint = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["hyper_parameters"]["target"] == "second_half"
    assert checkpoint["state_dict"]["network.weight_ih_l0"].shape == (4 * 64, 11)
    assert twofold("test", "-c", folder / "config.yaml", "--ckpt_path", "last")[0] == 0
    tested = row_of(folder / "test.csv")
    assert {f"test/accuracy/position={position}" for position in range(11, 21)} < tested.keys()


def test_a_test_at_several_lengths_writes_a_column_for_each(twofold: Twofold) -> None:
    folder = fitted(twofold)
    lengths = ("--data.test_lengths", "[5,50,5000]", "--data.test_size", 20)
    code, _, complained = twofold("test", "-c", folder / "config.yaml", "--ckpt_path", "last", *lengths)
    assert (code, complained) == (0, "")
    tested = row_of(folder / "test.csv")
    columns = [name for name in tested if name.startswith("test/")]
    assert columns == ["test/accuracy/T=5", "test/accuracy/T=50", "test/accuracy/T=5000"]
    for name in columns:
        assert float(tested[name]) * 20 == pytest.approx(round(float(tested[name]) * 20), abs=1e-4)
    assert (tested["step"], tested["length"]) == ("4", "20")


def test_a_run_that_is_solved_is_finished_before_max_steps(twofold: Twofold) -> None:
    stop = ("--trainer.callbacks+=callbacks.StopWhenSolved", "--trainer.callbacks.perfect_batches", 2)
    easy = ("--data.length", 2, "--data.batches_per_epoch", 7, "--trainer.log_every_n_steps", 1)
    folder = fitted(twofold, *easy, *stop, "--trainer.max_steps", 400)
    assert accuracies(folder)[-2:] == [1, 1]
    steps = len(accuracies(folder))
    assert steps < 400
    assert torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == steps
    code, said, _ = twofold("fit", "-c", folder / "config.yaml", "--ckpt_path", "last")
    assert (code, said.startswith(f"this run ended by itself after {steps} batches")) == (0, True)


def test_evaluating_the_best(twofold: Twofold) -> None:
    folder = fitted(twofold)
    code, _, complained = twofold("test", "-c", folder / "config.yaml", "--ckpt_path", "best")
    assert (code, "has no best checkpoint" in complained) == (2, True)
    folder = fitted(twofold, "--data.batches_per_epoch", 2)
    assert twofold("test", "-c", folder / "config.yaml", "--ckpt_path", "best")[0] == 0
    assert (folder / "test.csv").read_text().splitlines()[1].startswith("best.ckpt,")


@pytest.mark.parametrize("arguments", [(), ("--help",), ("runs",)])
def test_answers_without_torch_where_it_can(arguments: tuple[str, ...], tmp_path: Path) -> None:
    code = (
        "import sys; from runtime.cli import main; code = main(sys.argv[1:]); "
        "assert not {'torch', 'lightning', 'wandb', 'jsonargparse'} & set(sys.modules); sys.exit(code)"
    )
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "TWOFOLD_RUNS": "r"}, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "twofold fit -c" in done.stdout
    assert not list(tmp_path.iterdir())


def test_print_config_shows_the_whole_config(twofold: Twofold, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        twofold("fit", "-c", LSTM, "--data.length", 7, "--print_config")
    assert stop.value.code in (0, None)
    printed = capsys.readouterr().out
    assert "length: 7" in printed
    assert "forget_log" in printed
    assert "seed_everything: 1" in printed, "base.yaml counts"


def row_of(path: Path) -> dict[str, str]:
    with path.open(newline="") as file:
        [row] = csv.DictReader(file)
    return row


def column(folder: Path, name: str) -> list[float]:
    with (folder / "metrics.csv").open(newline="") as file:
        return [float(row[name]) for row in csv.DictReader(file) if row[name]]


def accuracies(folder: Path) -> list[float]:
    return column(folder, "train/accuracy")


def test_the_shipped_long_config_ends_by_itself_says_so_and_is_not_gone_on_with(twofold: Twofold) -> None:
    code, said, complained = twofold("fit -c", LONG, "--data.length", 10)
    assert (code, complained) == (0, "")
    ended, results = said.splitlines()[-2:]
    batches = int(ended.removeprefix("training ended by itself after ").removesuffix(" batches"))
    assert 10 < batches < 2000
    config = Path(results.removeprefix("results in ")) / "config.yaml"
    code, said, complained = twofold("fit -c", config, "--ckpt_path", "last", "--trainer.max_steps", 3000)
    assert (code, complained) == (0, "")
    assert f"this run ended by itself after {batches:,} batches" in said
    _, said, _ = twofold("runs")
    assert said.splitlines()[-1].endswith("finished")
