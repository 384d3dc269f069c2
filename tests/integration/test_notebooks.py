"""The notebooks run from top to bottom without data, and stay small."""

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]


def executed(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Executes a notebook; returns what it prints."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    notebook = nbformat.read(ROOT / "notebooks" / name, as_version=4)
    NotebookClient(notebook, timeout=900, kernel_name="python3", resources={"metadata": {"path": folder}}).execute()
    assert not any(folder.iterdir())
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "".join(output.text for output in outputs if output.get("name") == "stdout")


@pytest.mark.slow
def test_memory_notebook_solves_its_palindromes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    printed = executed("memory.ipynb", tmp_path, monkeypatch)
    (default,) = re.findall(r"LSTM, default initialisation: (\d+)%", printed)
    assert int(default) < 30
    assert "LSTM, forget bias log T: 100%" in printed
    assert "1,000 digits: 100%" in printed


@pytest.mark.slow
def test_gan_notebook_covers_all_modes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    printed = executed("gan.ipynb", tmp_path, monkeypatch)
    textbook, better = (
        [int(n) for n in line.split()[1:]] for line in printed.splitlines() if line.startswith("images")
    )
    assert sum(textbook) == sum(better) == 1000
    assert sum(count >= 20 for count in textbook) < sum(count >= 20 for count in better) == 10


@pytest.mark.parametrize("name", ["memory.ipynb", "gan.ipynb"])
def test_stored_outputs_are_small_and_without_errors(name: str) -> None:
    path = ROOT / "notebooks" / name
    assert path.stat().st_size < 200_000
    for cell in nbformat.read(path, as_version=4).cells:
        for output in cell.get("outputs", []):
            assert output.output_type != "error"
            assert output.get("name") != "stderr"
