"""The pages: links resolve, files exist, commands parse. Their tables: tests/test_benchmark_tables.py."""

import itertools
import re
import runpy
import shlex
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

import pytest
from documented import BLOCK, FOLLOWED, PAGES, ROOT, commands, inline_commands

Twofold = Callable[..., tuple[int, str, str]]
ALL = [*PAGES, ROOT / "CHANGELOG.md"]
COMMANDS = sorted({command for page in PAGES for command in (*commands(page), *inline_commands(page))})
TARGETS = set(re.findall("^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
ADDED = {block[2] for page in FOLLOWED for block in BLOCK.findall(page.read_text())}
"""Files that readers of `docs/add_a_*.md` create."""


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives a page's headings."""
    headings = re.findall(r"^#+ (.+)$", BLOCK.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", ALL, ids=lambda page: page.name)
def test_links_resolve(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if re.match(r"https?://", target):
            continue
        path, _, anchor = unquote(target).partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_named_files_exist(page: Path) -> None:
    prose = BLOCK.sub("", page.read_text())
    packages = "configs|networks|losses|metrics|lightning_modules|datamodules|callbacks|common|twofold|scripts|tests"
    named = re.findall(rf"`((?:{packages}|benchmarks|docs)/[\w/.]+\.\w+)`", prose)
    assert [name for name in named if name not in ADDED and not (ROOT / name).exists()] == []


@pytest.mark.parametrize("command", [command for command in COMMANDS if re.search(r"\btwofold \w+ -c", command)])
def test_twofold_commands_parse(command: str, twofold: Twofold, capsys: pytest.CaptureFixture[str]) -> None:
    if any(name in command for name in ("shapes", "recurrent_norm", "residual_gan", "pearson", "copy_first")):
        pytest.skip("needs the files of docs/add_a_*.md; see tests/integration/test_adding.py")
    subcommand, *settings = shlex.split(re.split(r"\btwofold\)? ", command)[-1])
    text = re.sub(r"-c runs/(\w+)/RUN/config.yaml", r"-c \1", shlex.join(settings))
    text = re.sub(r"--ckpt_path \w+", "", text)
    with pytest.raises(SystemExit, match=r"^0$"):
        twofold(subcommand, *shlex.split(text), "--print_config")
    assert "class_path" in capsys.readouterr().out


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith("python -m")])
def test_module_commands_have_their_options(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module, *arguments = shlex.split(command)[2:]
    if module == "pytest":
        return
    monkeypatch.setattr(sys, "argv", [module, "--help"])
    with warnings.catch_warnings(action="ignore"), pytest.raises(SystemExit, match=r"^0$"):
        runpy.run_module(module, run_name="__main__")
    help_page = capsys.readouterr().out
    for option in (word for word in itertools.takewhile(lambda word: word != "--", arguments) if word.startswith("--")):
        assert re.search(rf"{re.escape(option)}\b", help_page), option


def test_make_targets_exist() -> None:
    used = {shlex.split(command)[1] for command in COMMANDS if command.startswith("make ")}
    assert used <= TARGETS
