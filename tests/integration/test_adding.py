"""The pages docs/add_a_*.md are followed literally, in a copy of the checkout."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from documented import FOLLOWED, blocks
from row_logger import columns

Typed = Callable[..., str]


def follow(name: str, checkout: Path, typed: Typed) -> None:
    """Writes the files of a page, applies its diffs and runs its commands, on the packaged digits."""
    (page,) = (page for page in FOLLOWED if page.stem == name)
    for block in blocks(page):
        if block.file:
            with (checkout / block.file).open("x" if block.action == "title" else "a") as file:
                file.write(block.text if block.action == "title" else f"\n\n{block.text}")
            if block.file.endswith(".py"):
                typed(f"ruff format --check {block.file} && ruff check {block.file}")
        elif block.language == "diff":
            typed("patch -p1 --fuzz=0 --force --reject-file=-", block.text)
        else:
            assert block.language == "sh"
            for command in block.text.splitlines():
                on_digits = command.startswith("twofold fit -c gan ")
                typed(f"{command} --data.source packaged --trainer.max_steps 50" if on_digits else command)


@pytest.mark.slow
def test_dataset_is_added(checkout: Path, typed: Typed) -> None:
    follow("add_a_dataset", checkout, typed)
    (gan,) = (checkout / "runs" / "shapes").iterdir()
    assert {path.name for path in (gan / "images").iterdir()} == {"step_000000.png", "step_000500.png"}
    (classifier,) = (checkout / "runs" / "digit_classifier").iterdir()
    data = yaml.safe_load((classifier / "config.yaml").read_text())["data"]
    assert data["init_args"]["batch_size"] == 32


@pytest.mark.slow
def test_task_is_added(checkout: Path, typed: Typed) -> None:
    follow("add_a_task", checkout, typed)
    (solved,) = (
        run for run in (checkout / "runs" / "flip_flop").iterdir() if "LSTM" in (run / "config.yaml").read_text()
    )
    assert columns(solved / "metrics.csv")["train/accuracy"][-1][1] > 0.9
    assert "test/accuracy/T=32/one_mark" in typed(f"twofold test -c {solved}/config.yaml --ckpt_path last")


@pytest.mark.slow
def test_loss_is_added(checkout: Path, typed: Typed) -> None:
    follow("add_a_loss", checkout, typed)
    (gan,) = (checkout / "runs" / "gan").iterdir()
    assert yaml.safe_load((gan / "config.yaml").read_text())["model"]["init_args"]["loss"] == "pearson"
    assert {"train/d_loss", "train/g_loss"} <= columns(gan / "metrics.csv").keys()


@pytest.mark.slow
def test_network_is_added(checkout: Path, typed: Typed) -> None:
    follow("add_a_network", checkout, typed)
    (metadata,) = (checkout / "runs" / "gan").glob("*/mnist_generator.json")
    network = json.loads(metadata.read_text())["network"]
    assert (network["name"], network["arguments"]["width"]) == ("ResidualGenerator", 128)
    assert (checkout / "samples.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_callback_is_added(checkout: Path, typed: Typed) -> None:
    follow("add_a_callback", checkout, typed)
    (rnn,) = (checkout / "runs" / "palindrome_rnn").iterdir()
    (lstm,) = (checkout / "runs" / "palindrome_lstm").iterdir()
    assert "recurrent_norm/h" in columns(rnn / "metrics.csv")
    assert {f"recurrent_norm/{gate}" for gate in "ifgo"} <= columns(lstm / "metrics.csv").keys()
