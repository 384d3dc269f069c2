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
from lightning.pytorch import LightningDataModule, LightningModule
from PIL import Image

from datamodules import (
    InductionDataModule,
    PalindromeDataModule,
    ParityDataModule,
)
from lightning_modules import PalindromeLSTM, PalindromeRNN, SequenceModel
from metrics.interpolation import interpolate_latents
from networks.generator_files import save_generator
from networks.lstm import LSTM
from networks.mlp_gan import MLPGenerator
from networks.registry import register
from networks.rnn import RNN
from scripts import explore
from scripts.explorer.gan import STRIP_FRAMES, GANExplorer
from scripts.explorer.memory import MemoryExplorer
from scripts.explorer.model_index import ModelIndex
from scripts.interpolate import between_seeds
from scripts.interpolate import main as interpolate
from scripts.plot_gates import main as plot_gates
from scripts.tasks import load
from twofold.errors import UsageError

Script = Callable[..., tuple[int, str, str]]
Save = Callable[..., str]
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
def save(
    runs: Path, save_checkpoint: Callable[[LightningModule, Path], None], save_trained: Callable[..., None]
) -> Save:
    """Saves a network as the best checkpoint of a run, on data after a step; returns the checkpoint's name."""

    def save(module: LightningModule, run: str, data: LightningDataModule | None = None) -> str:
        name = f"memory/{run}/checkpoints/best.ckpt"
        if data is None:
            save_checkpoint(module, runs / name)
        else:
            save_trained(module, data, runs / name)
        return name

    return save


def listed(explorer: Callable[[ModelIndex], Any], root: Path) -> Any:
    index = ModelIndex(root)
    index.generators()
    index.networks()
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


def test_index_lists_the_network_of_each_run_by_its_task(
    runs: Path, save: Save, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [
        save(PalindromeLSTM(4, init="forget_log", horizon=6), "a"),
        save(PalindromeRNN(4), "b", PalindromeDataModule(6)),
        save(PalindromeLSTM(4, target="second_half"), "c"),
        save(SequenceModel(RNN(10, 5, init="latch")), "d", PalindromeDataModule(6)),
        save(SequenceModel(RNN(9, 5)), "e", InductionDataModule(6, tokens=8)),
        save(SequenceModel(LSTM(17, 5)), "f", InductionDataModule(6)),
        save(SequenceModel(RNN(2, 3)), "g", ParityDataModule(6)),
    ]
    save(SequenceModel(RNN(2, 3)), "without a task")
    found = ModelIndex(runs).networks()
    assert {task: sorted(choices) for task, choices in found.items()} == {
        "last digit": [
            ("memory/a, LSTM, forget_log, 4 units", names[0]),
            ("memory/b, RNN, torch, 4 units", names[1]),
            ("memory/d, RNN, latch, 5 units", names[3]),
        ],
        "second half": [("memory/c, LSTM, torch, 4 units", names[2])],
        "induction, tokens 8": [("memory/e, RNN, torch, 5 units", names[4])],
        "induction, tokens 16": [("memory/f, LSTM, torch, 5 units", names[5])],
        "parity": [("memory/g, RNN, torch, 3 units", names[6])],
    }
    assert [load(runs / name)[1].length for name in names[:2]] == [20, 6]
    assert "without a task/checkpoints/best.ckpt is of a task that isn't known here" in capsys.readouterr().err


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
    assert index.generators() == []
    assert index.networks() == {}
    with pytest.raises(UsageError, match=r"train one with twofold fit -c gan"):
        GANExplorer(index).samples(None, 1)
    with pytest.raises(UsageError, match=r"train one with twofold fit -c palindrome_lstm and"):
        MemoryExplorer(index).answers("44", [])


# The first tab


@pytest.mark.parametrize(("interpolation", "t"), [("lerp", 0), ("lerp", 0.25), ("slerp", 0.25), ("slerp", 1)])
def test_frame_is_a_point_of_the_interpolation(
    gan: GANExplorer, digit_painter: MLPGenerator, interpolation: str, t: float
) -> None:
    picture, probabilities, message = gan.frame(GENERATOR, "seeds", 4, 7, interpolation, t)
    latents = interpolate_latents(between_seeds(digit_painter, [4, 7], 1)[0][0], 5, interpolation)
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


class Parity(torch.nn.Module):
    """Has no weights, and is right at every length."""

    input_size = hidden_size = 2

    def __init__(self) -> None:  # whose arguments a checkpoint holds
        super().__init__()

    def forward(self, x: torch.Tensor, state: Any) -> tuple[torch.Tensor, None]:
        return torch.nn.functional.one_hot(x[:, :, 1].cumsum(dim=0).long() % 2, 2).float(), None


register("TestParity", Parity)


def test_answers_show_what_is_right_and_mark_what_is_wrong(runs: Path, save: Save) -> None:
    right, wrong = SequenceModel(Parity()), SequenceModel(Parity())
    right.readout.weight.data, wrong.readout.bias.data = 100 * torch.eye(2), torch.tensor([100.0, 0])
    names = [save(module, run, ParityDataModule(5)) for module, run in ((right, "right"), (wrong, "wrong"))]
    induction = save(SequenceModel(RNN(17, 3)), "induction", InductionDataModule(5))
    memory = listed(MemoryExplorer, runs)
    head, _, _, _, first, second = memory.answers("0110", names).splitlines()
    assert head == "4 steps of parity: 0 1 1 0"
    assert first == "| memory/right | 0 1 0 0 | 0 1 0 0 | 4 of 4 | 100% |"
    assert second == "| memory/wrong | 0 <mark>0</mark> 0 0 | 0 1 0 0 | 3 of 4 | 100% |"
    assert "| none; asked at the last step |  |" in memory.answers("1 2 3", [induction]).splitlines()[-1]
    assert set(memory.random(names, "all_ones", 6)) == {"1", " "}
    with pytest.raises(UsageError, match="is of the task induction, tokens 16, not parity; choose one task"):
        memory.answers("0110", [*names, induction])
    picture, answers = memory.gates("0110", names)
    assert picture.format == "PNG"
    assert answers == memory.answers("0110", names)


def test_answers_mark_wrong_digits_and_overflows(runs: Path, save: Save) -> None:
    lstm, recall = PalindromeLSTM(4, init="chrono", horizon=6), PalindromeLSTM(4, target="second_half")
    for model in (lstm, recall):
        torch.nn.init.zeros_(model.readout.weight)
        model.readout.bias.data = 100.0 * torch.eye(10)[4]  # answers 4
    overflowing = PalindromeRNN(5, nonlinearity="relu", init="identity")
    overflowing.network.weight_hh_l0.data *= 3
    names = [save(lstm, "a"), save(overflowing, "overflow"), save(recall, "c")]
    memory = listed(MemoryExplorer, runs)
    head, _, _, _, row = memory.answers("4079704", names[:1]).splitlines()
    assert (head, row) == ("Palindrome of 7 digits: 4079704", "| memory/a | 4 | 4 | 1 of 1 | 100% |")
    *_, row = memory.answers("4079704", names[2:]).splitlines()
    assert row == "| memory/c | <mark>4</mark><mark>4</mark>4 | 704 | 1 of 3 | 100% |"
    *_, first, second = memory.answers("1" * 1000, names[:2]).splitlines()
    assert "of 1 |" in first
    assert "the memory overflows; write fewer symbols" in second


def test_a_task_of_the_users_own_is_known_once_its_module_is_imported(
    runs: Path, save: Save, script: Script, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = runs / save(SequenceModel(RNN(2, 3)), "mine", ParityDataModule(5))
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["UsersParity"] = checkpoint.pop("ParityDataModule")
    torch.save(checkpoint, path)
    (tmp_path / "users_task.py").write_text(
        "import datamodules\nclass UsersParity(datamodules.ParityDataModule): ...\n", encoding="utf-8"
    )
    monkeypatch.syspath_prepend(tmp_path)  # as `python -m` does
    assert script(plot_gates, path)[0] == 2
    assert script(plot_gates, path, "--import", "users_task") == (0, "gates.png\n", "")
    assert [*ModelIndex(runs).networks()] == ["users-parity"]


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
    picture, label, message = call(client, "frame", GENERATOR, "digits", 3, 8, "lerp", 0, None, None).json()["data"]
    assert client.get(picture["url"]).content.startswith(b"\x89PNG")
    assert (label["label"], message) == ("3", "after 1,500 batches of the packaged digits")
    no_picture, _, message = call(client, "frame", GENERATOR, "digits", 3, 81, "lerp", 0, None, None).json()["data"]
    assert no_picture is None
    assert message == "**digits holds 81; write digits from 0 to 9**"
    assert call(client, "answers", "44", []).json()["data"][0].startswith("**choose a network")


def test_a_session_chooses_a_task_and_asks_its_networks(
    runs: Path, save: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parity = save(SequenceModel(Parity()), "parity", ParityDataModule(5))
    os.utime(runs / save(PalindromeRNN(3), "rnn"), (2**31, 2**31))
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "pictures"))
    with TestClient(explore.app(runs), base_url="http://127.0.0.1") as client:

        def ask(function: str, *values: object) -> Any:
            body = {"data": values, "session_hash": "session"}
            return client.post(f"/gradio_api/run/{function}", json=body)

        assert ask("answers", "0110", [parity]).status_code == 500, "it isn't among the networks of the first task"
        names, cases, length, typed = ask("choose", "parity", 20).json()["data"]
        assert names["value"] == [parity]
        assert [value for _, value in cases["choices"]] == ["as in training", "all_ones", "one_one"]
        assert (length["minimum"], length["value"]) == (1, 20)
        assert ask("answers", typed["value"], [parity]).json()["data"][0].startswith("20 steps of parity: ")
        assert ask("random", [parity], "one_one", 3).json()["data"] == ["1 0 0"]
        for wrong in ([parity], "nearest", 3), ([parity], "one_one", 0), (["../parity"], "one_one", 3):
            assert ask("random", *wrong).status_code == 500, wrong
        assert ask("choose", "recall", 20).status_code == 500
        assert ask("answers", "01x", [parity]).json()["data"] == ["**symbol 'x' isn't one of 0 1**"]


def test_server_refuses_values_that_are_no_choice(client: TestClient) -> None:
    good = [GENERATOR, "digits", 3, 8, "lerp", 0.5, None, None]
    wrong: list[object] = ["../outside/mnist_generator.pth", "letters", -1, 2**32, "straight", 1.5, 3, -1]
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
