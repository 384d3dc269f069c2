"""The benchmark of a GPU, on a CPU and shortened: that each case writes its rows."""

import os
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from benchmarks import gpu, gpu_probe, speed
from networks.lstm import KERNELS
from twofold.tables import read_rows

Rows = dict[tuple[str, str], dict[str, str]]
Run = Callable[..., Rows]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`run("section", "case")` measures the cases with such names on a CPU; returns their values by quantity."""
    monkeypatch.setenv("TWOFOLD_RUNS", "restored after the test")
    for module in (gpu, gpu_probe):
        for name in ("WARM_UP", "WINDOW", "WINDOWS"):
            monkeypatch.setattr(module, name, 2)
    monkeypatch.setattr(gpu_probe, "PROFILED", 3)
    sizes = {"SHIPPED": ["palindrome_lstm", "induction"], "LENGTHS": (3,), "ROUNDS": 4, "STEPS": 5}
    for name, value in {**sizes, "SIZE": 32, "VARIANTS": {"bf16-mixed": "--trainer.precision=bf16-mixed"}}.items():
        monkeypatch.setattr(gpu, name, value)
    arguments = gpu.fit_arguments

    def short(options: Namespace, config: str) -> list[str]:
        length = [] if "gan" in config or config == "palindrome_recall" else ["--data.length=4"]
        return [*arguments(options, config), "--data.batch_size=4", "--trainer.log_every_n_steps=10", *length]

    monkeypatch.setattr(gpu, "fit_arguments", short)

    def measure(section: str, case: str = "") -> Rows:
        every = gpu.cases
        options = ["--device", "cpu", "--source", "packaged", "--root", str(tmp_path), "--out", str(tmp_path)]
        with monkeypatch.context() as only:
            only.setattr(gpu, "cases", lambda options: (c for c in every(options) if c[0] == section and case in c[1]))
            assert speed.main(["gpu", *options]) == 0
        values: Rows = {}
        for row in read_rows(tmp_path / "gpu_cpu.csv"):
            assert (row["device"], row["torch"], row["cuda"]) == ("cpu", torch.__version__, "")
            values.setdefault((row["section"], row["case"]), {})[row["quantity"]] = row["value"]
        return values

    return measure


def test_runs_are_measured_and_waits_counted(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_probe, "SYNCHRONISING", ("aten::item",))  # the NaN check of a CPU, and loggers
    values = run("config")
    assert [case for _, case in values] == ["palindrome_lstm", "induction"]
    for (_, case), found in values.items():
        assert found["outcome"] == "measured"
        assert float(found["twofold fit, ms"]) > 0
        assert 1 <= float(found["synchronisations per batch"]) < float(found["synchronisations, batch logged"])
        assert ("twofold fit / plain loop" in found) == (case == "palindrome_lstm")


def test_operations_are_measured(run: Run) -> None:
    [lstm] = run("lstm").values()
    assert lstm["auto takes"] in KERNELS
    assert float(lstm["manual / nn.LSTM"]) > 0
    rows = run("recurrence") | run("product")
    assert {found["outcome"] for found in rows.values()} == {"measured"}
    assert sum("chunked / equations" in found for found in rows.values()) == 3
    assert sum(0 < float(found["error"]) < 1e-5 for found in rows.values() if "error" in found) == 5


def test_failed_cases_are_measured_again_and_others_stay(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    def work(case: str) -> dict[str, float]:
        done.append(case)
        if case == "fails" and len(done) < 3:
            raise ValueError("out of\nmemory")
        while case == "slow":
            pass
        return {"ms": 2.0}

    def cases(_: object) -> Iterator[gpu.Case]:
        for case in ("fails", "slow", "works"):
            yield "lstm", case, lambda case=case: work(case)  # type: ignore[misc]

    monkeypatch.setattr(gpu, "cases", cases)
    monkeypatch.setattr(gpu, "SECONDS_OF_A_CASE", 0.1)
    values = run("lstm")
    assert [found["outcome"] for found in values.values()] == [
        "failed: out of memory",
        "failed: took longer than 0 s",
        "measured",
    ]
    values = run("lstm")
    assert done == ["fails", "slow", "works", "fails", "slow"]
    assert values["lstm", "fails"] == {"outcome": "measured", "ms": "2"}
    monkeypatch.setattr(gpu, "SECONDS", 0)
    run("lstm")
    assert len(done) == 5


@pytest.mark.parametrize("section", ["determinism", "tests"])
def test_what_a_case_has_started_ends_with_its_time(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, section: str
) -> None:
    beats = tmp_path / "beats"
    for name in ("python", "twofold"):
        program = tmp_path / name
        beat = f"for n in {' '.join('0123456789')}; do echo >> {beats}; sleep 0.5; done"
        program.write_text(f"#!/bin/sh\ntrap '' INT TERM\n{beat} &\nwait\n")
        program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(gpu, "SECONDS_OF_A_CASE", 1)
    values = run(section, "palindrome_recall, deterministic true" if section == "determinism" else "")
    assert [found["outcome"] for found in values.values()] == ["failed: took longer than 1 s"]
    before = beats.read_text()
    time.sleep(0.7)
    assert beats.read_text() == before
    assert 0 < len(before) < 10


@pytest.mark.slow
def test_gans_are_measured_and_runs_repeated(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "SHIPPED", ["gan_template"])
    assert float(run("config")["config", "gan_template"]["twofold fit / plain loop"]) > 0
    assert float(run("variant", "dcgan")["variant", "dcgan, bf16-mixed"]["ratio"]) > 0
    values = run("determinism", "palindrome_recall")
    assert [found.get("tensors that differ") for found in values.values()] == [None, None, "0", "0"]


@pytest.mark.slow
def test_tests_are_counted(run: Run) -> None:
    [found] = run("tests").values()
    assert int(found["skipped"]) > 20


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_a_missing_device_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert speed.main(["gpu", "--out", str(tmp_path)]) == 2
    message = "benchmarks.speed: there is no CUDA device here; write --device cpu to try this command\n"
    assert capsys.readouterr() == ("", message)
    assert not os.listdir(tmp_path)


def test_a_table_of_another_device_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "gpu_cpu.csv").write_text("section,case,quantity,device,torch,cuda\na,b,c,cpu,0.1,\n")
    assert speed.main(["gpu", "--device", "cpu", "--out", str(tmp_path)]) == 2
    assert "holds rows with torch 0.1, which don't compare with" in capsys.readouterr().err


def test_all_benchmarks_of_speed_leave_it_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ran: list[Namespace] = []
    for name in speed.BENCHMARKS:
        monkeypatch.setitem(speed.BENCHMARKS, name, ran.append)
    monkeypatch.setattr(gpu, "measure", lambda _: pytest.fail("only when it is named"))
    assert speed.main(["--out", str(tmp_path)]) == 0
    assert len(ran) == len(speed.BENCHMARKS)
