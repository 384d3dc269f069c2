"""What --help says of each script, and how long it takes to say so."""

from importlib import import_module
from pathlib import Path

import pytest

from benchmarks import help_times
from runtime.tables import read_rows

SCRIPTS = [name.split(".")[1].removesuffix(" --help") for name in help_times.commands() if name.startswith("scripts.")]


def test_there_are_scripts() -> None:
    assert {"demo", "report", "explore", "sample", "interpolate", "export", "show_gates", "sweep"} <= set(SCRIPTS)


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_ends_with_examples_of_itself(script: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        import_module(f"scripts.{script}").main(["--help"])
    assert ended.value.code in (0, None)
    _, _, examples = capsys.readouterr().out.partition("\nexamples:\n")
    assert f"  python -m scripts.{script}" in examples


def test_help_is_timed_beside_the_import_of_lightning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quick = {help_times.YARDSTICK: ["-c", "sum(range(3_000_000))"], "slower": ["-c", "sum(range(30_000_000))"]}
    monkeypatch.setattr(help_times, "commands", lambda: quick)
    help_times.main(tmp_path / "table.csv", rounds=2)
    yardstick, slower = read_rows(tmp_path / "table.csv")
    assert yardstick["ratio"] == "1.00"
    assert float(slower["ratio"]) > 0
    monkeypatch.setattr(help_times, "commands", lambda: {"broken": ["-c", "raise SystemExit(3)"]})
    with pytest.raises(RuntimeError, match=r"^python -c raise SystemExit\(3\) ended with 3$"):
        help_times.main(tmp_path / "table.csv", rounds=2)
