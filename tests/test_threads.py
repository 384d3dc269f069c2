"""The setting `threads`: what `auto` stands for, when torch gets it, and what a resume does."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from twofold import threads
from twofold.threads import auto_threads, usable_cores

Twofold = Callable[..., tuple[int, str, str]]
FIT = "fit -c palindrome_lstm --data.batch_size 4 --data.batches_per_epoch 2 --trainer.max_steps"


@pytest.mark.parametrize(
    ("cores", "processes", "on_cpu", "wish", "expected"),
    [
        (1, 1, True, None, 1),
        (2, 1, True, None, 1),
        (4, 1, True, None, 3),
        (5, 1, True, None, 4),
        (64, 1, True, None, 4),
        (8, 2, True, None, 2),
        (8, 3, True, None, 1),
        (2, 2, True, "", 1),
        (64, 1, False, None, 1),
        (2, 1, True, "2", 2),
        (2, 2, True, " 8", 8),
        (64, 1, False, "6,2", 6),
        (4, 1, True, "many", 3),
        (4, 1, True, "0", 3),
        (4, 1, True, "4abc", 3),
        (2, 1, True, "99999", 64),
    ],
)
def test_auto_leaves_a_core_free(cores: int, processes: int, on_cpu: bool, wish: str | None, expected: int) -> None:
    assert auto_threads(cores, processes, on_cpu, wish) == expected


@pytest.mark.parametrize(
    ("group", "limits", "cores"),
    [
        ("/", {"": "400000 100000"}, 4),  # as a container sees its own group
        ("/a/b", {"a": "250000 100000", "a/b": "max 100000"}, 2),
        ("/a/b", {"a": "max 100000", "a/b": "50000 100000"}, 1),
        ("/of/the/host", {"": "300000 100000\n", "other": "100000 100000"}, 3),
        ("/a", {"a": "9000000 100000"}, 8),
        ("/a", {"a": "max 100000"}, 8),
        ("/a", {}, 8),
        (None, {"": "300000 100000"}, 3),
    ],
)
def test_cores_are_limited_by_quotas_of_control_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group: str | None, limits: dict[str, str], cores: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(8), raising=False)
    (tmp_path / "proc/self").mkdir(parents=True)
    if group is not None:
        (tmp_path / "proc/self/cgroup").write_text(f"1:name=systemd:/x\n0::{group}\n")
    for folder, limit in limits.items():
        path = tmp_path / "sys/fs/cgroup" / folder
        path.mkdir(parents=True, exist_ok=True)
        (path / "cpu.max").write_text(limit)
    assert usable_cores(tmp_path) == cores


@pytest.mark.parametrize(("count", "cores"), [(6, 6), (None, 1)])
def test_without_an_affinity_all_cores_are_usable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int | None, cores: int
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: count)
    assert usable_cores(tmp_path) == cores


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers that torch is given, which it doesn't take, on a machine of 8 cores without OMP_NUM_THREADS."""
    numbers: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", numbers.append)
    monkeypatch.setattr(threads, "usable_cores", lambda: 8)
    return numbers


def config_of(said: str) -> Path:
    return Path(said.splitlines()[-1].removeprefix("results in ")) / "config.yaml"


def test_a_run_keeps_its_number(twofold: Twofold, given: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS")
    code, said, complained = twofold(f"{FIT} 2")
    config = config_of(said)
    assert (code, complained, yaml.safe_load(config.read_text())["threads"]) == (0, "", 4)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    for command in ("fit", "validate", "test", "predict"):
        longer = "--trainer.max_steps 3" if command == "fit" else ""
        assert twofold(f"{command} -c {config} --ckpt_path last {longer}")[::2] == (0, ""), command
    assert given == [4, 1] * 5  # 1 is that of tests
    code, _, complained = twofold(f"fit -c {config} --ckpt_path last --trainer.max_steps 4 --threads 3")
    assert (code, complained) == (0, "twofold: threads was 4 and is now 3: the same bits are not promised\n")
    assert yaml.safe_load(config.read_text())["threads"] == given[-2] == 3


@pytest.mark.parametrize(("wish", "during"), [(None, "4"), ("2", "2"), ("", "")])
def test_the_number_holds_for_the_command_only(
    in_process: Twofold, given: list[int], monkeypatch: pytest.MonkeyPatch, wish: str | None, during: str
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS")
    if wish is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", wish)
    seen: list[str] = []

    def stop(_: object) -> None:
        seen.append(os.environ["OMP_NUM_THREADS"])  # what Lightning's launcher and the processes that it starts read
        sys.exit()

    monkeypatch.setattr("twofold.lightning_cli.TwofoldCLI.instantiate_classes", stop)
    with pytest.raises(SystemExit):
        in_process(f"{FIT} 2 --trainer.fast_dev_run true")
    assert (seen, given) == ([during], [int(during or 4), 1])
    assert os.environ.get("OMP_NUM_THREADS") == wish


@pytest.mark.parametrize(
    ("options", "warning"),
    [
        ("--threads 9", "9 threads on 8 cores slow each other down; --threads 4 is faster"),
        ("--threads 3 --trainer.devices 3", "9 threads on 8 cores slow each other down; --threads 1 is faster"),
        ("--threads 8", ""),
        ("--trainer.devices 9", ""),
    ],
)
def test_more_threads_than_cores_get_a_warning(
    in_process: Twofold,
    given: list[int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: str,
    warning: str,
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 9)
    monkeypatch.setattr("twofold.lightning_cli.TwofoldCLI.instantiate_classes", lambda _: sys.exit())
    with pytest.raises(SystemExit):
        in_process(f"{FIT} 2 {options} --trainer.fast_dev_run true")
    assert capsys.readouterr().err == (f"twofold: {warning}\n" if warning else "")
    assert len(given) == 2
