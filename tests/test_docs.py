"""What the pages say is so: their numbers, the lines they quote, their links and their commands."""

import re
import runpy
import shlex
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest
from documented import ALL_COMMANDS, MENTIONED, PAGES, ROOT

from networks.lstm import LSTM

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def text_of(page: str) -> str:
    return (ROOT / "docs" / page).read_text()


def test_pictures_are_small() -> None:
    for picture in (ROOT / "docs" / "pictures").iterdir():
        assert picture.stat().st_size < {".gif": 200_000, ".svg": 130_000}.get(picture.suffix, 100_000), picture


@pytest.mark.parametrize("page", ["memory.md", "game.md"])
def test_each_quoted_line_still_stands_in_its_file(page: str) -> None:
    """A column headed "line of `FILE`" quotes, and so does a block that says quote="FILE"."""
    text = text_of(page)
    quotes: list[tuple[str, str]] = []
    for file, body in re.findall(r"^\|.*\| line of `(\S+)` \|\n\|[-|]+\|\n((?:\|.*\n)+)", text, re.MULTILINE):
        for row in body.splitlines():
            quotes += [(file, quoted) for quoted in re.findall(r"`([^`]+)`", row.rsplit(" | ", 1)[1])]
    for file, body in re.findall(r'^```python quote="(\S+)"\n(.*?)^```', text, re.MULTILINE | re.DOTALL):
        quotes += [(file, line.strip()) for line in body.splitlines() if line.strip()]
    assert len(quotes) >= 6
    for file, line in quotes:
        there = [stands.strip().split("  # ")[0] for stands in (ROOT / file).read_text().splitlines()]
        assert line in there, f"{file} no longer has the line {line}"


def test_the_page_s_equations_are_the_file_s() -> None:
    docstring = sys.modules[LSTM.__module__].__doc__ or ""
    equations = [line.strip() for line in docstring.splitlines() if re.match(r"    [ifgoch]⁽ᵗ⁾ = ", line)]
    assert len(equations) == 6
    for equation in equations:
        assert equation in text_of("memory.md")


LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)|<(?:img|a)[^>]* (?:src|href)=\"([^\"]+)\"")


def links(page: Path) -> Iterator[str]:
    prose = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for found in LINK.finditer(prose):
        target = found[1] or found[2]
        if not re.match(r"[a-z]+:", target):
            yield target


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_chapter_stands_twice_in_a_page(page: Path) -> None:
    chapters = re.findall(r"^## .*", page.read_text(), re.MULTILINE)
    assert len(chapters) == len(set(chapters))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere_in_the_house(page: Path) -> None:
    for link in links(page):
        path, _, anchor = unquote(link).partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name} leads to {link}, which isn't there"
        assert target.is_relative_to(ROOT), f"{page.name} leads out of the house: {link}"
        if anchor:
            assert anchor in anchors(target), f"{page.name} leads to {link}, where no heading is so called"


@pytest.mark.parametrize("command", dict.fromkeys([*(command for _, command in ALL_COMMANDS), *MENTIONED]))
def test_commands_are_ones_that_are_understood(
    command: str,
    twofold: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def understood(arguments: list[str]) -> None:
        with pytest.raises(SystemExit) as ended:
            twofold("", *in_this_checkout(arguments), "--print_config")
        printed, complained = capsys.readouterr()
        assert ended.value.code == 0, complained
        assert "class_path" in printed

    match shlex.split(command):
        case [".", *_] | ["wandb", *_]:
            pass  # of the shell, and W&B's own
        case ["pip", "install", "-e", extra]:
            assert extra.removeprefix(".[").removesuffix("]") in PROJECT["project"]["optional-dependencies"]
        case ["make", target]:
            assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
        case ["twofold", "runs"]:
            assert twofold("runs")[0] == 0
        case ["twofold", command, "--help"]:
            with pytest.raises(SystemExit) as ended:
                twofold(command, "--help")
            assert ended.value.code == 0
        case ["twofold", *arguments]:
            understood(arguments)
        case ["torchrun", *words]:
            understood(words[words.index("twofold)") + 1 :])
        case ["sbatch", script, *arguments]:
            assert (ROOT / script).exists()
            understood(["fit", "-c", *arguments])
        case ["python", "-m", "pytest", *arguments]:
            for file in (argument for argument in arguments if argument.endswith(".py")):
                assert (ROOT / file).exists()
        case ["python", "-m", module, *options]:
            told = help_of(module, monkeypatch, capsys)
            options = options[: options.index("--")] if "--" in options else options
            for option in (word.partition("=")[0] for word in options if word.startswith("--")):
                assert re.search(rf"{option}\b", told), f"{module} has no {option}"
        case _:
            pytest.fail(f"nobody knows how to parse `{command}`")


def in_this_checkout(arguments: list[str]) -> list[str]:
    """With the config that a run was started with in place of the run's own."""
    if "--ckpt_path" in arguments:
        at = arguments.index("--ckpt_path")
        arguments = arguments[:at] + arguments[at + 2 :]
    own = re.compile(r"runs/(\w+)/[^/]+/config\.yaml")
    return [re.sub(r"^configs/", f"{ROOT}/configs/", own.sub(r"configs/\1.yaml", word)) for word in arguments]


def help_of(module: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    monkeypatch.setattr(sys, "argv", [module, "--help"])
    monkeypatch.delitem(sys.modules, module, raising=False)  # else runpy warns
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(module, run_name="__main__")
    assert ended.value.code in (0, None)
    return capsys.readouterr().out
