"""Which process decides, and what the others make of it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from twofold.errors import UsageError
from twofold.first_process import DECIDED, Processes

TORCHRUN = {"TORCHELASTIC_RUN_ID": "x", "RANK": "1", "LOCAL_RANK": "0", "GROUP_RANK": "1", "WORLD_SIZE": "4"}


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (DECIDED, *TORCHRUN):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def test_one_process_decides_for_itself_and_for_those_it_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = Processes()
    assert (alone.is_first, alone.is_heard) == (True, True)
    assert alone.decide(lambda: {"folder": "runs/a/b"}) == {"folder": "runs/a/b"}
    monkeypatch.setenv("LOCAL_RANK", "1")
    other = Processes()
    assert (other.is_first, other.is_heard) == (False, False)
    assert other.decide(lambda: pytest.fail("it isn't for this one to decide")) == {"folder": "runs/a/b"}


def test_who_is_started_by_nobody_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    with pytest.raises(UsageError, match="LOCAL_RANK is set, though nobody started many processes"):
        Processes().decide(dict)


@pytest.mark.parametrize(
    ("devices", "num_nodes", "asked"), [(1, 1, 1), ("1", 2, 2), ([0, 1, 2], 1, 3), (2, 2, 4), ("auto", 1, None)]
)
def test_the_number_that_was_started_is_the_one_asked_for(
    monkeypatch: pytest.MonkeyPatch, devices: Any, num_nodes: int, asked: int | None
) -> None:
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    second = Processes()
    assert (second.is_first, second.is_heard) == (False, True)
    if asked in (4, None):
        second.refuse_other_number(devices, num_nodes)
    else:
        with pytest.raises(UsageError, match=f"4 processes were started and the settings ask for {asked};"):
            second.refuse_other_number(devices, num_nodes)


DECIDE = """
import json, sys
from twofold.errors import NothingToDo, UsageError
from twofold.first_process import Ended, Processes
processes, how = Processes(), sys.argv[1]
def decision():
    if how == "refused":
        raise UsageError("no")
    if how == "done":
        raise NothingToDo("done")
    return {"ckpt_path": how}
try:
    print(json.dumps(processes.decide(decision)))
except Ended as ended:
    print("ended", ended.code)
except Exception as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("how", "first", "other"),
    [
        ("a.ckpt", {"ckpt_path": "a.ckpt"}, {"ckpt_path": "a.ckpt"}),
        ("refused", "no", "ended 2"),
        ("done", "done", "ended 0"),
    ],
)
def test_those_of_two_machines_ask_the_first(how: str, first: Any, other: Any, free_port: int) -> None:
    environment = {"PYTHONPATH": str(Path(__file__).parents[1]), "MASTER_ADDR": "127.0.0.1"}
    environment |= {**TORCHRUN, "WORLD_SIZE": "2", "MASTER_PORT": str(free_port), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", DECIDE, how]
    processes = [
        subprocess.Popen(command, env={**environment, "RANK": rank}, stdout=subprocess.PIPE, text=True) for rank in "01"
    ]
    said = [process.communicate(timeout=200)[0].strip() for process in processes]
    expected = [each if isinstance(each, str) else json.dumps(each) for each in (first, other)]
    assert said == expected
