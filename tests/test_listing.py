"""`twofold runs`."""

import shlex
from pathlib import Path

import pytest
import yaml

from twofold.main import main
from twofold.run_folder import RunFolder


@pytest.fixture(autouse=True)
def _runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWOFOLD_RUNS", str(tmp_path / "my runs"))


def test_no_runs_yet(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["runs"]) == 0
    assert capsys.readouterr().out == (
        f"no runs under {tmp_path}/my runs yet; start one with: twofold fit -c palindrome_lstm\n"
    )
    assert not (tmp_path / "my runs").exists()


def test_every_state(capsys: pytest.CaptureFixture[str]) -> None:
    finished, failed, interrupted, running = (RunFolder.create(name, "") for name in ("d", "c", "b", "a"))
    finished.note(state="finished", step=12_000)
    failed.note(state="failed", step=3)
    for name in ("step=000100.ckpt", "step=000200.ckpt"):
        (interrupted.path / "checkpoints").mkdir(exist_ok=True)
        (interrupted.path / "checkpoints" / name).touch()
    (running.path.parent / "not a run").mkdir()
    with running.locked():
        assert main(["runs"]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split(maxsplit=3) == ["run", "step", "state", "resume with"]
    assert len(rows) == 4
    found = {}
    for row in rows:
        path, step, state, *resume = shlex.split(row.replace("my runs/", "my\\ runs/", 1))
        found[Path(path).parent.name] = (path, step, state, resume)

    def resume_of(folder: RunFolder, *more: str) -> list[str]:
        return ["twofold", "fit", "-c", str(folder.config), "--ckpt_path", "last", *more]

    assert found == {
        "a": (str(running.path), "0", "running", []),
        "b": (str(interrupted.path), "200", "interrupted", resume_of(interrupted)),
        "c": (str(failed.path), "3", "failed", resume_of(failed)),
        "d": (str(finished.path), "12,000", "finished", resume_of(finished, "--trainer.max_steps", "MORE")),
    }


@pytest.mark.parametrize(("total_iters", "goes_on"), [(500, False), (400, True)])
def test_a_run_whose_learning_rates_are_at_their_end_can_t_go_on(
    capsys: pytest.CaptureFixture[str], total_iters: int, goes_on: bool
) -> None:
    scheduler = {"class_path": "torch.optim.lr_scheduler.LinearLR", "init_args": {"total_iters": total_iters}}
    config = {"model": {"init_args": {"lr_scheduler": scheduler}}, "trainer": {"max_steps": 500}}
    RunFolder.create("gan", yaml.safe_dump(config)).note(state="finished", step=500)
    assert main(["runs"]) == 0
    assert ("--ckpt_path last" in capsys.readouterr().out) == goes_on


@pytest.mark.parametrize(
    "config", [b"", b"model: 3\ntrainer: {max_steps: 5}", b"[", b"- 1", b"\0", b"root: Gr\xf6\xdfe"]
)
def test_whatever_a_config_holds_the_list_is_printed(capsys: pytest.CaptureFixture[str], config: bytes) -> None:
    run = RunFolder.create("gan", "")
    run.config.write_bytes(config)
    run.note(state="finished", step=500)
    assert main(["runs"]) == 0
    assert "--trainer.max_steps MORE" in capsys.readouterr().out
