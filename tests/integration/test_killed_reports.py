"""A killed report resumes: finished runs aren't repeated, and the page shows all figures."""

from pathlib import Path

import pytest
from started import start, wait_until

from twofold.run_folder import RunFolder

TINY = """
import sys
from dataclasses import replace
from scripts import demo
demo.DEMO = replace(
    demo.DEMO, memory_batches=100, recall_batches=100, textbook_batches=80, gan_batches=80, evaluate_every=20,
    samples=100,
)
sys.exit(demo.main(sys.argv[1:]))
"""


def runs(folder: Path) -> list[RunFolder]:
    return [RunFolder(path.parent) for path in sorted(folder.glob("runs/demo/*/*/*/run.json"))]


def finished(folder: Path) -> dict[Path, int]:
    """The tables of finished runs, and when they were written."""
    done = [run.path / "metrics.csv" for run in runs(folder) if run.facts.get("state") == "finished"]
    return {table: table.stat().st_mtime_ns for table in done}


@pytest.mark.slow
def test_killed_report_resumes_and_repeats_nothing(tmp_path: Path) -> None:
    process = start(tmp_path, "-c", TINY)

    def in_the_middle() -> bool:
        assert process.poll() is None, process.communicate()
        return 0 < len(finished(tmp_path)) < len(list(tmp_path.glob("runs/demo/*/*/*/metrics.csv")))

    wait_until(in_the_middle, "one run is finished and another trains", seconds=180)
    process.kill()
    process.communicate()
    before, begun = finished(tmp_path), {run.path for run in runs(tmp_path)}
    assert len(before) < 11

    process = start(tmp_path, "-c", TINY)
    out, err = process.communicate()
    assert process.returncode == 0, err
    after = finished(tmp_path)
    assert len(after) == 11
    assert begun <= {table.parent for table in after}, "interrupted runs resume in their folders"
    assert before.items() <= after.items()
    page = tmp_path / "runs/demo/index.html"
    assert out == f"open {page}\n"
    assert page.read_text().count("<figure") == 10
    names = {path.name for path in (tmp_path / "runs/demo/figures").iterdir()}
    assert {"curves_T5.svg", "gates.png", "recall.svg", "learning.svg", "strip.png", "morph.gif"} <= names
