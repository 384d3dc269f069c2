"""The demo, shortened: its runs end, and the page shows all figures."""

from pathlib import Path

import pytest
from started import start

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


@pytest.mark.slow
def test_the_page_of_the_demo_shows_all_figures(tmp_path: Path) -> None:
    process = start(tmp_path, "-c", TINY)
    out, err = process.communicate()
    assert process.returncode == 0, err
    runs = [RunFolder(path.parent) for path in tmp_path.glob("runs/demo/*/*/*/run.json")]
    assert [run.facts["state"] for run in runs] == ["finished"] * 11
    page = tmp_path / "runs/demo/index.html"
    assert out == f"open {page}\n"
    assert page.read_text().count("<figure") == 11
    names = {path.name for path in (tmp_path / "runs/demo/figures").iterdir()}
    assert {"curves_T5.svg", "gates.png", "recall.svg", "learning.svg", "strip.png", "morph.gif", "tasks.png"} <= names
