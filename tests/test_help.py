"""What --help says of the command and of each script, and how long it takes to say so."""

import inspect
import re
from collections.abc import Callable
from importlib import import_module

import pytest

from datamodules import MNISTDataModule, PalindromeDataModule
from lightning_modules import GAN, DigitClassifier, PalindromeLSTM, PalindromeRNN
from twofold.provenance import ROOT

SCRIPTS = sorted(path.stem for path in (ROOT / "scripts").glob("*.py") if "def main(" in path.read_text())


@pytest.mark.parametrize("command", ["fit", "predict"])
def test_help_names_every_setting_of_our_classes_and_what_it_is(
    twofold: Callable[..., tuple[int, str, str]], capsys: pytest.CaptureFixture[str], command: str
) -> None:
    with pytest.raises(SystemExit) as stop:
        twofold(command, "--help")
    assert stop.value.code == 0
    told = capsys.readouterr().out
    for group, kinds in {
        "model": (GAN, DigitClassifier, PalindromeLSTM, PalindromeRNN),
        "data": (MNISTDataModule, PalindromeDataModule),
    }.items():
        for kind in kinds:
            (section,) = re.findall(rf"^The {group}, where the config says {kind.__name__}: .*?\n\n", told, re.M | re.S)
            for name in inspect.signature(kind).parameters:
                assert re.search(rf"^  --{group}\.{name}\s+\S", section, re.MULTILINE), f"{kind.__name__}: {name}"
    assert re.search(r"^  --data\.batch_size +images per batch, .*\n? .*\(64\)$", told, re.MULTILINE)
    assert re.search(
        r"^  --trainer\.max_steps +stop after so many batches; -1 for no limit \(-1\)$", told, re.MULTILINE
    )
    assert re.search(r"^  callbacks\.ImageGrid +Draws 64 images", told, re.MULTILINE)
    assert f"twofold {command} -c runs/gan/RUN/config.yaml --ckpt_path last" in told
    for foreign in ("hpc", "registry", "DummyLogger", "weights_only", ":class:", "``"):
        assert foreign not in told
    assert max(map(len, told.splitlines())) <= 120


def test_there_are_scripts() -> None:
    assert {"demo", "report", "explore", "sample", "interpolate", "export", "plot_gates", "sweep"} <= set(SCRIPTS)


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_ends_with_examples_of_itself(script: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        import_module(f"scripts.{script}").main(["--help"])
    assert ended.value.code in (0, None)
    _, _, examples = capsys.readouterr().out.partition("\nexamples:\n")
    assert f"  python -m scripts.{script}" in examples
