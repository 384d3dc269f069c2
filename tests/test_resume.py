"""Going on with a run: what may change, what may not, and what the folder looks like afterwards."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml

from twofold.resume import check_resumable
from twofold.run_folder import RunFolder

LSTM = Path(__file__).parents[1] / "configs" / "palindrome_lstm.yaml"
SHORT = (
    "--data.batches_per_epoch 3 --data.batch_size 16 --trainer.log_every_n_steps 1 --checkpoint.every_n_train_steps 4"
)
CURRICULUM = "--trainer.callbacks+=callbacks.LengthCurriculum --trainer.callbacks.start 3"
ANNEALED = "--trainer.callbacks+=callbacks.CosineAnnealing --trainer.callbacks.batches 3 --trainer.callbacks.beta2 0.99"
SOLVED = "--trainer.callbacks+=callbacks.StopWhenSolved --trainer.callbacks.perfect_batches 9"
Twofold = Callable[..., tuple[int, str, str]]


def start(twofold: Twofold, steps: int, options: str = "") -> Path:
    """The folder of a run of so many batches."""
    code, said, complained = twofold(f"fit -c {LSTM} {SHORT} {options} --trainer.max_steps {steps}")
    assert (code, complained) == (0, "")
    return Path(said.splitlines()[-1].removeprefix("results in "))


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def state(folder: Path) -> dict[str, Any]:
    checkpoint: dict[str, Any] = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    return checkpoint


def test_a_setting_that_came_with_a_later_version_has_its_default(twofold: Twofold) -> None:
    folder = start(twofold, 4)
    config = folder / "config.yaml"
    older = yaml.safe_load(config.read_text())
    assert older["model"]["init_args"].pop("kernel") == "equations"
    config.write_text(yaml.safe_dump(older))
    go_on = f"fit -c {config} --ckpt_path last --trainer.max_steps 5"
    code, _, complained = twofold(f"{go_on} --model.kernel gates")
    assert code == 2
    assert "--model.kernel was auto in this run and can't become gates" in complained
    assert twofold(go_on)[::2] == (0, "")
    assert yaml.safe_load(config.read_text())["model"]["init_args"]["kernel"] == "auto"


REFUSED = [
    ("--model.optimizer.lr 0.5", "--model.optimizer.lr was 0.01 in this run and can't become 0.5"),
    ("--model.hidden_size 3", "--model.hidden_size was 64 in this run and can't become 3"),
    ("--seed_everything 2", "--seed_everything was 1 in this run and can't become 2"),
    ("--trainer.gradient_clip_val 2", "--trainer.gradient_clip_val was 1.0 in this run and can't become 2"),
    ("--trainer.precision bf16-mixed", "--trainer.precision was null in this run and can't become bf16-mixed"),
    (CURRICULUM, "LengthCurriculum.start was null in this run and can't become 3"),
    ("--trainer.callbacks+=EMAWeightAveraging", "EMAWeightAveraging."),
    (ANNEALED, "CosineAnnealing.batches was null in this run and can't become 3"),
    (SOLVED, "StopWhenSolved.perfect_batches was null in this run and can't become 9"),
    ("--experiment other", "--experiment was palindrome_lstm in this run and can't become other"),
    ("--trainer.max_steps 3", "--trainer.max_steps was 4 in this run and can't become 3"),
]


def test_what_would_make_it_another_run_is_refused(twofold: Twofold) -> None:
    folder = start(twofold, 4)
    before = contents(folder)
    for change, expected in REFUSED:
        code, _, complained = twofold(f"fit -c {folder}/config.yaml --ckpt_path last --trainer.max_steps 6 {change}")
        assert code == 2
        assert complained.count("\n") == 1
        assert expected in complained
    with RunFolder(folder).locked():
        code, _, complained = twofold(f"fit -c {folder}/config.yaml --ckpt_path last --trainer.max_steps 6")
    assert (code, "another process is training in" in complained) == (2, True)
    assert contents(folder) == before
    assert len(list(folder.parent.iterdir())) == 1


def test_what_only_watches_may_change(twofold: Twofold) -> None:
    folder = start(twofold, 4)
    watching = (
        "--trainer.logger twofold.loggers.CSVLogger --trainer.enable_progress_bar false "
        "--checkpoint.every_n_train_steps 1 --checkpoint.save_top_k 9 --trainer.callbacks+=LearningRateMonitor "
        "--data.test_lengths [5,50] --data.test_size 7 --data.worst_cases [] "
        "--trainer.log_every_n_steps 2 --trainer.max_steps 6"
    )
    code, _, complained = twofold(f"fit -c {folder}/config.yaml --ckpt_path last {watching}")
    assert (code, complained) == (0, "")
    assert (folder / "checkpoints" / "step=000005.ckpt").is_file()


def test_damaged_checkpoints_are_skipped_while_one_is_whole(twofold: Twofold) -> None:
    folder, untouched = start(twofold, 5), start(twofold, 8)
    newest = folder / "checkpoints" / "step=000005.ckpt"
    newest.write_bytes(newest.read_bytes()[:1000])
    code, _, complained = twofold(f"validate -c {folder}/config.yaml --ckpt_path last")
    assert (code, complained.count("step=000005.ckpt is damaged")) == (0, 1)
    assert (folder / "validate.csv").read_text().splitlines()[1].startswith("step=000004.ckpt,")
    code, _, complained = twofold(f"fit -c {folder}/config.yaml --ckpt_path last --trainer.max_steps 8")
    assert code == 0
    assert complained.count("\n") == 1
    assert "step=000005.ckpt is damaged" in complained
    assert (folder / "metrics.csv").read_text() == (untouched / "metrics.csv").read_text()
    for path in (folder / "checkpoints").glob("step=*"):
        path.unlink()  # last.ckpt is left
    assert twofold(f"fit -c {folder}/config.yaml --ckpt_path last --trainer.max_steps 9")[::2] == (0, "")
    assert state(folder)["global_step"] == 9
    for path in (folder / "checkpoints").iterdir():
        path.write_bytes(path.read_bytes()[:100])
    before = contents(folder)
    code, said, complained = twofold(f"fit -c {folder}/config.yaml --ckpt_path last --trainer.max_steps 10")
    assert (code, said) == (2, "")
    assert "are damaged, and nothing there was changed; start a new run without --ckpt_path" in complained
    assert contents(folder) == before


def test_before_the_first_checkpoint_it_starts_again_in_the_same_folder(twofold: Twofold) -> None:
    folder = start(twofold, 6)
    expected = (folder / "metrics.csv").read_text()
    shutil.rmtree(folder / "checkpoints")
    (folder / "run.json").write_text(f'{{"id": "{folder.name}"}}')
    code, said, complained = twofold(f"fit -c {folder}/config.yaml --ckpt_path last")
    assert (code, complained.count("\n")) == (0, 1)
    assert "has no checkpoint to go on from: the run starts from batch 0" in complained
    assert said.splitlines()[-1] == f"results in {folder.absolute()}"
    assert (folder / "metrics.csv").read_text() == expected


def test_other_data_are_refused(twofold: Twofold) -> None:
    folder = start(twofold, 4)
    (folder / "run.json").write_text(json.dumps({"id": folder.name, "data_source": "torchvision"}))
    before = contents(folder)
    code, _, complained = twofold(f"fit -c {folder}/config.yaml --ckpt_path last --trainer.max_steps 5")
    assert (code, complained.count("\n")) == (2, 1)
    assert "this run was trained on torchvision data" in complained
    assert contents(folder) == before


def test_the_root_of_the_data_may_change_and_devices_warn() -> None:
    def config(root: str, devices: int) -> dict[str, Any]:
        trainer = {"max_steps": 500, "max_epochs": -1, "callbacks": None, "devices": devices}
        return {"model": {}, "data": {"init_args": {"root": root, "predict_size": devices}}, "trainer": trainer}

    [warning] = check_resumable(config("data", 1), config("elsewhere", 2))
    assert warning == "trainer.devices was 1 and is now 2: the same bits are not promised"
