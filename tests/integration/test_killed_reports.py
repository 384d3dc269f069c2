"""A whole report, killed in the middle, goes on: finished runs stay as they are, and the page shows all there is."""

import signal
from pathlib import Path

import pytest
from started import start, wait_until

from twofold.run_folder import RunFolder

ROOT = Path(__file__).parents[2]
TINY = """
import sys
from dataclasses import replace
from scripts import demo
demo.DEMO = replace(
    demo.DEMO, memory_batches=100, recall_batches=100, textbook_batches=60, gan_batches=80,
    evaluate_every=20, early=(5, 10), around=10, samples=100,
)
sys.exit(demo.main(sys.argv[1:]))
"""


def runs(folder: Path) -> list[RunFolder]:
    return [RunFolder(path.parent) for path in sorted(folder.glob("runs/demo/*/*/*/run.json"))]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "stopped"])
def test_a_report_that_is_killed_goes_on_and_repeats_nothing(tmp_path: Path, number: signal.Signals) -> None:
    process = start(tmp_path, "-c", TINY)

    def in_the_middle() -> bool:
        assert process.poll() is None, process.communicate()
        # Not by `state`, which tries the lock that a training is about to take.
        logged = [run for run in runs(tmp_path) if (run.path / "metrics.csv").exists()]
        ended = [run for run in logged if run.facts.get("state") == "finished"]
        return 0 < len(ended) < len(logged)

    wait_until(in_the_middle, "one run is finished and another trains", seconds=180)
    process.send_signal(number)
    _, complained = process.communicate()
    if number == signal.SIGTERM:
        assert process.returncode == 143
        assert complained.splitlines()[-1] == "demo: stopped by SIGTERM; the same command goes on"
    wait_until(lambda: all(run.state != "running" for run in runs(tmp_path)), "no training goes on alone", seconds=180)
    before = runs(tmp_path)
    finished = {run.path: (run.path / "metrics.csv").stat().st_mtime_ns for run in before if run.state == "finished"}
    assert len(before) < 11

    process = start(tmp_path, "-c", TINY)
    said, complained = process.communicate()
    assert process.returncode == 0, complained
    after = runs(tmp_path)
    assert [run.state for run in after] == ["finished"] * 11
    assert {run.path for run in before} <= {run.path for run in after}, "what was begun has gone on in its folder"
    assert {path: (path / "metrics.csv").stat().st_mtime_ns for path in finished} == finished
    page = tmp_path / "runs/demo/index.html"
    assert f"open {page}" in said
    assert page.read_text().count("<figure") == 13
    names = {path.name for path in (tmp_path / "runs/demo/figures").iterdir()}
    assert {"curves_T5.svg", "gates.svg", "recall.svg", "learning.svg", "strip.png", "morph.gif"} <= names
    assert len([name for name in names if name.startswith("grid_")]) == 14

    files = {run.path: (run.path / "metrics.csv").stat().st_mtime_ns for run in after}
    said, complained = start(tmp_path, "-c", TINY, "--only", "gates").communicate()
    assert said.startswith("runs/demo/figures/gates.svg\n"), complained
    assert {run.path: (run.path / "metrics.csv").stat().st_mtime_ns for run in runs(tmp_path)} == files
