"""The pages that say how to add something are followed literally, in a copy of the checkout."""

import csv
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from documented import FOLLOWED, ROOT

PAGES = [page.name for page in FOLLOWED]
Typed = Callable[..., str]
BLOCK = re.compile(r'^```(?P<kind>\w+)(?: title="(?P<file>\S+)")?\n(?P<text>.*?)^```$', re.MULTILINE | re.DOTALL)
SHORTER = {"--trainer.max_steps 500": "--trainer.max_steps 50 --data.source packaged"}
"""Of the commands that play a game with digits, for which there may be no network here."""


class Block(NamedTuple):
    kind: str
    file: str | None
    text: str


def blocks(page: str) -> Iterator[Block]:
    """Those of a page, in order; the prose before one that makes a file gives the file's name."""
    text = (ROOT / "docs" / page).read_text()
    end = 0
    for found in BLOCK.finditer(text):
        block = Block(**found.groupdict())
        assert block.file is None or f"`{block.file}`" in text[end : found.start()], f"{block.file} comes unannounced"
        yield block
        end = found.end()
    assert text.count("\n```") == 2 * len(BLOCK.findall(text)), "a block of an unknown kind"


def follow(page: str, checkout: Path, typed: Typed, running: bool = True) -> None:
    """Does what a page says; without `running`, all but its commands."""
    for kind, file, text in blocks(page):
        if file is not None:
            path = checkout / file
            assert not path.exists()
            path.write_text(text)
            if path.suffix == ".py":
                typed(f"ruff format --check {file} && ruff check {file}")
        elif kind == "diff":
            typed("patch -p1 --force --reject-file=-", text)
        else:
            assert kind == "sh", f"nobody knows what to do with a block of {kind}"
            for command in text.splitlines() if running else ():
                typed(shortened(command))


def shortened(command: str) -> str:
    if "configs/gan" in command:
        for long, short in SHORTER.items():
            assert long in command
            command = command.replace(long, short)
    return command


def columns(run_folder: Path) -> set[str]:
    """Those of its `metrics.csv` that hold a number."""
    with (run_folder / "metrics.csv").open(newline="") as file:
        return {name for row in csv.DictReader(file) for name, value in row.items() if value}


@pytest.mark.parametrize("page", PAGES)
def test_files_and_changes_of_a_page_still_fit_the_house(page: str, checkout: Path, typed: Typed) -> None:
    follow(page, checkout, typed, running=False)
    typed("python -c 'import datamodules, callbacks, lightning_modules'")


@pytest.mark.slow
def test_a_dataset_is_added(checkout: Path, typed: Typed) -> None:
    follow("add_a_dataset.md", checkout, typed)
    (game,) = (checkout / "runs" / "shapes").iterdir()
    assert {path.name for path in (game / "images").iterdir()} == {"step_000000.png", "step_000500.png"}
    (classifier,) = (checkout / "runs" / "digit_classifier").iterdir()
    data = yaml.safe_load((classifier / "config.yaml").read_text())["data"]
    assert (data["class_path"], data["init_args"]["batch_size"]) == ("datamodules.ShapesDataModule", 32)


@pytest.mark.slow
def test_a_loss_is_added(checkout: Path, typed: Typed) -> None:
    follow("add_a_loss.md", checkout, typed)
    (game,) = (checkout / "runs" / "gan").iterdir()
    assert yaml.safe_load((game / "config.yaml").read_text())["model"]["init_args"]["loss"] == "pearson"
    assert {"train/d_loss", "train/g_loss"} <= columns(game)


@pytest.mark.slow
def test_a_network_is_added(checkout: Path, typed: Typed) -> None:
    follow("add_a_network.md", checkout, typed)
    (facts,) = (checkout / "runs" / "gan").glob("*/mnist_generator.json")
    network = json.loads(facts.read_text())["network"]
    assert (network["name"], network["arguments"]["width"]) == ("ResidualGenerator", 128)
    assert (checkout / "samples.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_a_callback_is_added(checkout: Path, typed: Typed) -> None:
    follow("add_a_callback.md", checkout, typed)
    (rnn,) = (checkout / "runs" / "palindrome_rnn").iterdir()
    (lstm,) = (checkout / "runs" / "palindrome_lstm").iterdir()
    assert "recurrent_norm/h" in columns(rnn)
    assert {f"recurrent_norm/{gate}" for gate in "ifgo"} <= columns(lstm)


@pytest.mark.parametrize("page", PAGES)
def test_every_page_that_adds_something_is_followed_and_ends_with_a_test(page: str) -> None:
    assert f"test_a_{page.removeprefix('add_a_').removesuffix('.md')}_is_added" in globals()
    commands = [line for block in blocks(page) if block.kind == "sh" for line in block.text.splitlines()]
    assert commands[-1].startswith("python -m pytest ")
