"""`scripts.explore`: the networks it finds, the answers of its page, and its server."""

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient
from lightning.pytorch import LightningModule
from PIL import Image

from lightning_modules import PalindromeLSTM, PalindromeRNN
from metrics.interpolation import interpolate_latents
from networks.generator_files import save_generator
from networks.mlp_gan import MLPGenerator
from scripts import explore
from scripts.explorer.gan import STRIP_FRAMES, GANExplorer
from scripts.explorer.memory import MemoryExplorer
from scripts.explorer.model_index import ModelIndex
from scripts.interpolate import between_seeds
from scripts.interpolate import main as interpolate
from scripts.plot_gates import to_palindrome, to_text
from twofold.errors import UsageError

Script = Callable[..., tuple[int, str, str]]
Save = Callable[[LightningModule, str], str]
GENERATOR = "gan/one/mnist_generator.pth"


@pytest.fixture
def runs(tmp_path: Path, digit_painter: MLPGenerator) -> Path:
    """A folder of runs with a generator."""
    save_generator(digit_painter, tmp_path / "runs" / GENERATOR, weights="raw", step=1500, data_source="packaged")
    return tmp_path / "runs"


@pytest.fixture(scope="module")
def gan(digit_painter: MLPGenerator, tmp_path_factory: pytest.TempPathFactory) -> GANExplorer:
    """The first tab over such a folder; it finds the digits' latents once for all tests."""
    root = tmp_path_factory.mktemp("runs")
    save_generator(digit_painter, root / GENERATOR, weights="raw", step=1500, data_source="packaged")
    explorer: GANExplorer = listed(GANExplorer, root)
    return explorer


@pytest.fixture
def save(runs: Path, save_checkpoint: Callable[[LightningModule, Path], None]) -> Save:
    """Saves a network as the best checkpoint of a run; returns the checkpoint's name."""

    def save(module: LightningModule, run: str) -> str:
        name = f"memory/{run}/checkpoints/best.ckpt"
        save_checkpoint(module, runs / name)
        return name

    return save


def listed(explorer: Callable[[ModelIndex], Any], root: Path) -> Any:
    index = ModelIndex(root)
    index.generators()
    index.palindrome_networks()
    return explorer(index)


# The index


def test_index_lists_generators_newest_first(runs: Path, digit_painter: MLPGenerator) -> None:
    names = ("gan/new/mnist_generator.pth", "gan/two/mnist_generator.pth", GENERATOR, "gan/two/best_generator.pth")
    for age, name in enumerate(names):
        step = 20 if "new" in name else 2000
        save_generator(digit_painter, runs / name, weights="ema", step=step, data_source="torchvision")
        os.utime(runs / name, (10**9 - age, 10**9 - age))
    (runs / "gan/damaged").mkdir()
    (runs / "gan/damaged/mnist_generator.pth").write_bytes(b"damaged")
    titles = ["gan/two, 2,000 batches", "gan/one, 2,000 batches", "gan/two, best, 2,000 batches"]
    index = ModelIndex(runs)
    assert [title for title, _ in index.generators()[:3]] == titles
    assert {title for title, _ in index.generators()[3:]} == {"gan/new, 20 batches", "gan/damaged, 0 batches"}
    with pytest.raises(UsageError, match="is damaged or holds more than tensors"):
        index.generator("gan/damaged/mnist_generator.pth")


def test_index_lists_the_palindrome_network_of_each_run(runs: Path, save: Save) -> None:
    lstm = save(PalindromeLSTM(4, init="forget_log", horizon=6), "a")
    rnn = save(PalindromeRNN(4), "b")
    recall = save(PalindromeLSTM(4, target="second_half"), "c")
    index = ModelIndex(runs)
    assert sorted(index.palindrome_networks()) == [
        ("memory/a, LSTM, last digit, forget_log, 6 digits", lstm),
        ("memory/b, RNN, last digit, torch", rnn),
        ("memory/c, LSTM, second half, torch", recall),
    ]


def test_index_opens_only_what_it_has_listed_and_again_when_it_changes(runs: Path, digit_painter: MLPGenerator) -> None:
    outside = runs.parent / "outside/mnist_generator.pth"
    save_generator(digit_painter, outside, weights="raw", step=1, data_source="packaged")
    index = ModelIndex(runs)
    index.generators()
    for name in ("../outside/mnist_generator.pth", str(outside), "gan/one"):
        with pytest.raises(UsageError, match="there is no such network"):
            index.generator(name)
    assert index.generator(GENERATOR) is index.generator(GENERATOR)
    save_generator(MLPGenerator(3, [4]), runs / GENERATOR, weights="raw", step=2000, data_source="packaged")
    assert index.generator(GENERATOR).metadata["step"] == 2000


def test_missing_folder_is_an_empty_index(tmp_path: Path) -> None:
    index = ModelIndex(tmp_path / "nowhere")
    assert index.generators() == index.palindrome_networks() == []
    with pytest.raises(UsageError, match=r"train one with twofold fit -c configs/gan\.yaml"):
        GANExplorer(index).samples(None, 1)
    with pytest.raises(UsageError, match=r"train one with twofold fit -c configs/palindrome_lstm\.yaml"):
        MemoryExplorer(index).answers("44", [])


# The first tab


@pytest.mark.parametrize(("interpolation", "t"), [("lerp", 0), ("lerp", 0.25), ("slerp", 0.25), ("slerp", 1)])
def test_frame_is_a_point_of_the_interpolation(
    gan: GANExplorer, digit_painter: MLPGenerator, interpolation: str, t: float
) -> None:
    picture, probabilities, message = gan.frame(GENERATOR, "seeds", 4, 7, interpolation, t)
    latents = interpolate_latents(between_seeds(digit_painter, [4, 7], 1)[0], 5, interpolation)
    with torch.no_grad():
        expected = (digit_painter(latents)[round(4 * t), 0] + 1) / 2 * 255
    np.testing.assert_allclose(np.asarray(picture)[5::10, 5::10], expected.numpy(), atol=0.51)
    assert sum(probabilities.values()) == pytest.approx(1)
    assert message == "after 1,500 batches of the packaged digits"


def test_strip_equals_the_one_of_the_script(gan: GANExplorer, script: Script, tmp_path: Path) -> None:
    picture, _ = gan.strip(GENERATOR, "digits", 3, 8, "slerp")
    options = f"--digits 3 8 --interpolation slerp --frames {STRIP_FRAMES} --out 38.png"
    assert script(interpolate, gan.index.root / GENERATOR, *options.split())[0] == 0
    assert np.array_equal(np.asarray(picture), np.asarray(Image.open(tmp_path / "38.png")))


def test_samples_depend_on_their_seed(gan: GANExplorer) -> None:
    pictures = [np.asarray(gan.samples(GENERATOR, seed)[0]) for seed in (1, 2)]
    assert not np.array_equal(pictures[0], pictures[1])


# The second tab


def test_typed_digits_become_a_palindrome() -> None:
    typed = ["4079704", "40", "7", " 12 "]
    assert [to_text(to_palindrome(text)) for text in typed] == ["4079704", "4004", "77", "1221"]


@pytest.mark.parametrize("typed", ["", "-1", "٣", "12 21", "1" * 1001, "12" * 300])
def test_text_that_makes_no_palindrome_is_refused(typed: str) -> None:
    with pytest.raises(UsageError, match="write a palindrome of up to 1,000 digits"):
        to_palindrome(typed)


def test_answers_mark_wrong_digits_and_overflows(runs: Path, save: Save) -> None:
    lstm, recall = PalindromeLSTM(4, init="chrono", horizon=6), PalindromeLSTM(4, target="second_half")
    for model in (lstm, recall):
        torch.nn.init.zeros_(model.readout.weight)
        model.readout.bias.data = 100.0 * torch.eye(10)[4]  # answers 4
    overflowing = PalindromeRNN(5, nonlinearity="relu", init="identity")
    overflowing.network.weight_hh_l0.data *= 3
    names = [save(lstm, "a"), save(recall, "c")]
    overflown = save(overflowing, "overflow")
    memory = listed(MemoryExplorer, runs)
    head, _, _, _, *rows = memory.answers("4079704", names).splitlines()
    assert head == "Palindrome of 7 digits: 4079704"
    assert rows[0].startswith("| memory/a | 4 | 4 | 1 of 1 | 100% |")
    assert "<mark>4</mark>" in rows[1]
    assert "| 704 | 1 of 3 |" in rows[1]
    picture, answers = memory.gates("4079704", names)
    assert picture.format == "PNG"
    assert answers == memory.answers("4079704", names)
    *_, first, second = memory.answers("1" * 1000, [overflown, names[0]]).splitlines()
    assert "the memory overflows; write fewer digits" in first
    assert "of 1 |" in second


# The server


@pytest.fixture
def client(gan: GANExplorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "pictures"))
    with TestClient(explore.app(gan.index.root), base_url="http://127.0.0.1") as client:
        yield client


def call(client: TestClient, function: str, *values: object) -> Any:
    return client.post(f"/gradio_api/run/{function}", json={"data": values})


def test_server_answers_and_shows_errors_as_messages(client: TestClient) -> None:
    assert client.get("/").status_code == 200
    picture, label, message = call(client, "frame", GENERATOR, "digits", 3, 8, "lerp", 0).json()["data"]
    assert client.get(picture["url"]).content.startswith(b"\x89PNG")
    assert (label["label"], message) == ("3", "after 1,500 batches of the packaged digits")
    no_picture, _, message = call(client, "frame", GENERATOR, "digits", 3, 81, "lerp", 0).json()["data"]
    assert no_picture is None
    assert message == "**digits holds 81; write digits from 0 to 9**"
    assert call(client, "answers", "44", []).json()["data"][0].startswith("**choose a network")


def test_server_refuses_values_that_are_no_choice(client: TestClient) -> None:
    good = [GENERATOR, "digits", 3, 8, "lerp", 0.5]
    wrong: list[object] = ["../outside/mnist_generator.pth", "letters", -1, 2**32, "straight", 1.5]
    for place, value in enumerate(wrong):
        assert call(client, "frame", *good[:place], value, *good[place + 1 :]).status_code == 500, value


def test_server_serves_no_other_host_and_no_other_file(client: TestClient, gan: GANExplorer) -> None:
    assert client.get("/", headers={"host": "elsewhere.example"}).status_code == 400
    for path in ("/etc/passwd", gan.index.root / GENERATOR, Path("pyproject.toml").resolve()):
        assert client.get(f"/gradio_api/file={path}").status_code in (403, 404), path


def test_port_in_use_is_refused(refuses: Callable[..., None]) -> None:
    with explore.bind(0) as listener:
        port = listener.getsockname()[1]
        assert listener.proto == socket.IPPROTO_TCP, "asyncio sends small answers at once"
        refuses(explore.main, [(f"--port {port}", f"port {port} can't be used: Address already in use")])
