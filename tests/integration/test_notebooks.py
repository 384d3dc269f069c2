"""The lessons as notebooks: each is executed from top to bottom, on a machine without data, and stays small."""

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_says_what_it_says_when_it_is_executed(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    notebook = nbformat.read(path, as_version=4)
    kept = printed(notebook)
    NotebookClient(notebook, timeout=900, kernel_name="python3", resources={"metadata": {"path": tmp_path}}).execute()
    now = printed(notebook)
    if path.stem == "memory":
        (guessed,) = re.findall(r"LSTM as it comes: (\d+)%", now)
        assert int(guessed) < 30
        assert "LSTM, forget bias log T: 100%" in now
        assert "1,000 digits: 100%" in now
    else:
        textbook, better = (census(line) for line in now.splitlines() if line.startswith("images"))
        assert sum(textbook) == sum(better) == 1000
        alive_by_textbook, alive = (sum(count >= 20 for count in counts) for counts in (textbook, better))
        assert alive_by_textbook < alive
        assert alive == 10
    assert len(kept.splitlines()) == len(now.splitlines()), "what is kept in the file comes from other cells"
    assert not any(tmp_path.iterdir())


def census(line: str) -> list[int]:
    return [int(count) for count in line.split()[1:]]


def printed(notebook: nbformat.NotebookNode) -> str:
    outputs = (output for cell in notebook.cells for output in cell.get("outputs", []))
    return "".join(output.text for output in outputs if output.output_type == "stream" and output.name == "stdout")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_a_notebook_keeps_is_small_and_without_complaints(path: Path) -> None:
    assert path.stat().st_size < 200_000
    for cell in nbformat.read(path, as_version=4).cells:
        for output in cell.get("outputs", []):
            assert output.output_type != "error"
            assert output.get("name") != "stderr"


def test_there_is_one_for_each_lesson() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["game", "memory"]
