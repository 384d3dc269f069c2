"""A run is a folder and what run.json in it says."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from twofold.errors import UsageError
from twofold.run_folder import RunFolder


@pytest.fixture(autouse=True)
def _runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWOFOLD_RUNS", str(tmp_path))


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "-c", "a b", "x\n"])
def test_an_experiment_s_name_is_a_folder_s(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="write letters, digits"):
        RunFolder.create(name, "")
    assert not list(tmp_path.iterdir())


def test_which_run_a_config_or_checkpoint_belongs_to(tmp_path: Path) -> None:
    folder = RunFolder.create("x", "")
    assert RunFolder.of_config(folder.path / "config.yaml") == folder
    assert RunFolder.of_config(folder.path / "other.yaml") is None
    assert RunFolder.of_config(tmp_path / "config.yaml") is None
    assert RunFolder.of_checkpoint(folder.path / "checkpoints" / "last.ckpt") == folder
    assert RunFolder.of_checkpoint(folder.path / "last.ckpt") is None


def test_facts_are_kept_and_taken_out() -> None:
    folder = RunFolder.create("x", "")
    folder.note(state="failed", step=3)
    folder.note(state=None, data_source="packaged")
    assert folder.facts == {"id": folder.path.name, "step": 3, "data_source": "packaged"}
    assert not list(folder.path.glob(".*part"))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"id": 3}', "{"])
def test_a_broken_run_json_makes_it_no_run(text: str) -> None:
    folder = RunFolder.create("x", "")
    (folder.path / "run.json").write_text(text)
    assert RunFolder.of_config(folder.config) is None


def test_checkpoints_are_sorted_by_step_not_by_name() -> None:
    folder = RunFolder.create("x", "")
    checkpoints = folder.path / "checkpoints"
    checkpoints.mkdir()
    for name in ("step=000500", "step=1000000", "step=999999", "best", "step=x", "last"):
        (checkpoints / f"{name}.ckpt").touch()
    assert [path.stem for path in folder.checkpoints()] == ["step=1000000", "step=999999", "step=000500"]
    assert folder.step == 1_000_000
    assert folder.checkpoint("best") == checkpoints / "best.ckpt"
    assert folder.checkpoint("worst") is None


def test_the_lock_ends_with_its_process() -> None:
    folder = RunFolder.create("x", "")
    code = (
        "import os, sys; from pathlib import Path; from twofold.run_folder import RunFolder\n"
        "with RunFolder(Path(sys.argv[1])).locked():\n    print('locked', flush=True); input()\n    os._exit(9)"
    )
    command = [sys.executable, "-c", code, str(folder.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        assert folder.state == "running"
        with pytest.raises(UsageError, match="another process"), folder.locked():
            pass
        process.kill()
    assert folder.state == "interrupted"
    folder.note(state="finished")
    assert folder.state == "finished"
    folder.note(state=None)
    assert json.loads((folder.path / "run.json").read_text()) == {"id": folder.path.name}


def test_what_was_half_written_is_removed_and_nothing_else() -> None:
    run = RunFolder.create("a", "experiment: a\n")
    (run.path / "images").mkdir()
    drafts = [run.path / ".quality.json.17.part", run.path / "images" / ".step_000005.png.17.part"]
    whole = [run.path / "quality.json", run.path / "images" / "step_000005.png", run.path / "a.part"]
    for path in (*drafts, *whole):
        path.touch()
    run.remove_drafts()
    assert not any(path.exists() for path in drafts)
    assert all(path.exists() for path in (*whole, run.config))
