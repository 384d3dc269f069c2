"""The functions behind the explorer's page, the gate before it, and what the command refuses."""

import base64
import contextlib
import io
import json
import math
import os
import re
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st
from lightning.pytorch import LightningModule, Trainer
from PIL import Image
from torch import Tensor

from benchmarks.explorer_latency import WAYS
from common.seeding import HIGHEST_SEED
from datamodules import PalindromeDataModule
from lightning_modules import PalindromeLSTM, PalindromeRNN
from metrics.interpolation import class_log_probabilities, interpolate_latents
from networks.generator_files import save_generator
from networks.mlp_gan import MLPGenerator
from networks.sampling import sample
from scripts.explore import main
from scripts.explorer import html, inputs, page, server
from scripts.explorer.gan import STRIP_FRAMES, Game
from scripts.explorer.memory import LONGEST, Memory, answer, completed
from scripts.explorer.model_index import Shelf
from scripts.interpolate import between_seeds
from scripts.interpolate import main as interpolate
from scripts.plot_gates import written
from twofold.errors import UsageError

Script = Callable[..., tuple[int, str, str]]
Refuses = Callable[..., None]
GENERATOR = "gan/one/mnist_generator.pth"
GARBAGE: list[object] = [
    *(None, "", "x", "-1", "²", "٣", "1e3", "9" * 5000, 10**400, -1, 0.5, True),
    *(math.nan, math.inf, [1], {"path": "/etc/passwd"}, "\0", "../..", "<script>"),
]


@pytest.fixture
def runs(tmp_path: Path, digit_painter: MLPGenerator) -> Path:
    """A folder of runs with a generator."""
    root = tmp_path / "runs"
    (root / "gan/one").mkdir(parents=True)
    save_generator(digit_painter, root / GENERATOR, weights="raw", step=1500, data_source="packaged")
    return root


@pytest.fixture(scope="module")
def gallery(digit_painter: MLPGenerator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, for tests that leave it as it is: where its digits are is looked up once for all of them."""
    root = tmp_path_factory.mktemp("gallery")
    save_generator(digit_painter, root / GENERATOR, weights="raw", step=1500, data_source="packaged")
    return root


@pytest.fixture
def remember(runs: Path, plain_trainer: Callable[..., Trainer]) -> Callable[[LightningModule, str], str]:
    """Saves a network as the only checkpoint of a run of this name; returns the checkpoint's name."""

    def remember(module: LightningModule, run: str) -> str:
        trainer = plain_trainer(max_steps=1, limit_val_batches=0)
        trainer.fit(module, datamodule=PalindromeDataModule(6, target=module.target))  # type: ignore[arg-type]
        name = f"memory/{run}/checkpoints/best.ckpt"
        trainer.save_checkpoint(runs / name)
        return name

    return remember


def pictures(html: str) -> list[np.ndarray]:
    """The pixels of all images in it, from 0 to 255."""
    found = re.findall(r'<img[^>]*src="data:image/png;base64,([^"]+)"', html)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(content)))) for content in found]


def pixels(images: Tensor) -> np.ndarray:
    return ((images[:, 0] + 1) / 2 * 255).numpy()


# Fields


@given(st.integers(0, 50))
def test_a_whole_number_may_come_as_number_or_text(number: int) -> None:
    for value in (number, float(number), str(number), f" {number} "):
        assert inputs.whole_number(value, "seed", 0, 50) == number


@pytest.mark.parametrize("value", [*GARBAGE, 51, "51"])
def test_anything_else_is_no_whole_number(value: object) -> None:
    with pytest.raises(UsageError, match="seed: write a whole number from 0 to 50"):
        inputs.whole_number(value, "seed", 0, 50)


def test_a_share_is_a_number_from_0_to_1() -> None:
    assert [inputs.share(value, "t") for value in (0, 0.25, 1)] == [0, 0.25, 1]
    for value in (*(one for one in GARBAGE if one != 0.5), 1.01, "0.5"):
        with pytest.raises(UsageError, match="t: write a number from 0 to 1"):
            inputs.share(value, "t")


# The shelf


def test_the_shelf_lists_what_lies_under_its_folder(runs: Path, remember: Callable[..., str]) -> None:
    shelf = Shelf(runs)
    lstm = remember(PalindromeLSTM(4, init="forget_log", horizon=6), "a")
    rnn = remember(PalindromeRNN(4), "b")
    writer = remember(PalindromeLSTM(4, target="second_half"), "c")
    torch.save([1], runs / "memory/b/checkpoints/last.ckpt")
    (runs / "memory/d/checkpoints").mkdir(parents=True)
    torch.save([1], runs / "memory/d/checkpoints/last.ckpt")
    assert shelf.generators() == [(GENERATOR, "one, 1,500 batches")]
    assert shelf.memories("lstm") == [(lstm, "a, forget_log, 6 digits")]
    assert shelf.memories("rnn") == [(rnn, "b, torch")]
    assert shelf.memories("writer") == [(writer, "c, torch")]
    assert isinstance(shelf.memory(rnn), PalindromeRNN)
    assert shelf.memory(rnn) is shelf.memory(rnn)


def test_an_empty_shelf_is_empty(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "nowhere")
    assert shelf.generators() == shelf.memories("lstm") == []


def test_a_generator_is_opened_once_until_its_file_changes(runs: Path) -> None:
    shelf = Shelf(runs)
    before = shelf.generator(GENERATOR)
    assert shelf.generator(GENERATOR) is before
    save_generator(MLPGenerator(3, [4]), runs / GENERATOR, weights="raw", step=2000, data_source="packaged")
    assert shelf.generator(GENERATOR).facts["step"] == 2000


def test_the_newest_generator_comes_first(runs: Path, digit_painter: MLPGenerator) -> None:
    (runs / "gan/two").mkdir()
    for name in ("gan/two/best_generator.pth", "gan/two/mnist_generator.pth"):
        save_generator(digit_painter, runs / name, weights="ema", step=2000, data_source="torchvision")
    for age, name in enumerate(("gan/two/mnist_generator.pth", GENERATOR, "gan/two/best_generator.pth")):
        os.utime(runs / name, (10**9 - age, 10**9 - age))
    assert [book.name for book in Shelf(runs).generators()] == [
        *("gan/two/mnist_generator.pth", GENERATOR, "gan/two/best_generator.pth")
    ]
    titles = [book.title for book in Shelf(runs).generators()]
    assert titles == ["two, 2,000 batches", "one, 1,500 batches", "two, the best, 2,000 batches"]


def test_what_has_hardly_begun_comes_last(runs: Path, digit_painter: MLPGenerator) -> None:
    (runs / "gan/two").mkdir()
    save_generator(digit_painter, runs / "gan/two/mnist_generator.pth", weights="raw", step=20, data_source="packaged")
    assert [book.title for book in Shelf(runs).generators()] == ["one, 1,500 batches", "two, 20 batches"]


def test_runs_are_called_by_as_little_as_tells_them_apart(runs: Path, digit_painter: MLPGenerator) -> None:
    here, copy = "demo/gan/20261126-113607-5b91", "report/gan/20261126-113607-5b91"
    folders = (here, "demo/gan/20261126-113607-77aa", copy, "demo/gan/gan/three", "one", ".")
    for folder in folders:
        (runs / folder).mkdir(parents=True, exist_ok=True)
        path = runs / folder / "mnist_generator.pth"
        save_generator(digit_painter, path, weights="raw", step=2, data_source="torchvision")
    called = {Path(name).parent.as_posix(): title.rpartition(", ")[0] for name, title in Shelf(runs).generators()}
    assert called == {
        "gan/one": "gan/one",
        here: here,
        copy: copy,
        "demo/gan/20261126-113607-77aa": "gan 77aa",
        "demo/gan/gan/three": "three",
        "one": "runs/one",
        ".": "runs",
    }


def test_nothing_outside_the_folder_is_listed_or_opened(
    runs: Path, tmp_path: Path, digit_painter: MLPGenerator
) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    for name in ("mnist_generator.pth", "best_generator.pth"):
        save_generator(digit_painter, secret / name, weights="raw", step=1, data_source="packaged")
    (secret / "checkpoints").mkdir()
    (secret / "checkpoints/best.ckpt").write_bytes(b"")
    (runs / "linked_folder").symlink_to(secret)
    for run in ("linked_file", "linked_json", "loop"):
        (runs / run).mkdir()
    (runs / "linked_file/mnist_generator.pth").symlink_to(secret / "mnist_generator.pth")
    (runs / "linked_json/mnist_generator.pth").write_bytes((secret / "mnist_generator.pth").read_bytes())
    (runs / "linked_json/mnist_generator.json").symlink_to(secret / "mnist_generator.json")
    (runs / "loop/mnist_generator.pth").symlink_to(runs / "loop/mnist_generator.pth")
    shelf = Shelf(runs)
    assert {book.name for book in shelf.generators()} == {GENERATOR, "linked_json/mnist_generator.pth"}
    outside: list[object] = [
        *("../secret/mnist_generator.pth", "gan/../../secret/mnist_generator.pth", str(secret / "mnist_generator.pth")),
        *(f"{run}/mnist_generator.pth" for run in ("linked_folder", "linked_file", "linked_json", "loop", "nowhere")),
        *("gan/one/mnist_generator.json", "gan/one", "~", "file:///etc/passwd", "x" * 900 + "/mnist_generator.pth"),
        *GARBAGE,
    ]
    for crafted in outside:
        for open_it in (shelf.generator, shelf.memory):
            with pytest.raises(UsageError):
                open_it(crafted)
    with pytest.raises(UsageError):
        shelf.memory("linked_folder/checkpoints/best.ckpt")


def test_links_within_the_folder_are_followed(runs: Path) -> None:
    (runs / "newest").symlink_to(runs / "gan/one")
    assert Shelf(runs).generator("newest/mnist_generator.pth").facts["step"] == 1500


# The game


@pytest.mark.parametrize("path", ["lerp", "slerp"])
@pytest.mark.parametrize("t", [0, 0.25, 1])
def test_a_frame_is_a_point_of_the_walk(gallery: Path, digit_painter: MLPGenerator, path: str, t: float) -> None:
    html = Game(Shelf(gallery)).frame(GENERATOR, "seeds", 4, "7", path, t)
    (waypoints,) = between_seeds(digit_painter, [4, 7], 1)
    expected = sample(digit_painter, interpolate_latents(waypoints, 5, path)[[round(4 * t)]])
    (shown,) = pictures(html)
    np.testing.assert_allclose(shown, pixels(expected)[0], atol=0.51)
    assert f"<figcaption>{GENERATOR}: after 1,500 batches of the packaged digits</figcaption>" in html


def test_between_digits_it_begins_with_one_and_ends_with_the_other(gallery: Path) -> None:
    game = Game(Shelf(gallery))
    for t, digit in ((0, 3), (1, 8)):
        html = game.frame(GENERATOR, "digits", "3", "8", "lerp", t)
        assert f"the classifier reads as {digit}: " in html
        assert re.search(rf'bar surest"><b>{digit}</b>', html)


def test_the_strip_is_the_one_that_interpolate_draws(gallery: Path, script: Script, tmp_path: Path) -> None:
    html = Game(Shelf(gallery)).strip(GENERATOR, "digits", "3", "8", "slerp")
    frames = ("--interpolation", "slerp", "--frames", STRIP_FRAMES)
    assert script(interpolate, gallery / GENERATOR, "--digits", 3, 8, *frames, "--out", "38.png")[0] == 0
    (shown,) = pictures(html)
    assert np.array_equal(shown, np.asarray(Image.open(tmp_path / "38.png")))
    assert 'download="3_to_8_slerp.png"' in html


def test_samples_depend_on_their_seed_alone(gallery: Path) -> None:
    game = Game(Shelf(gallery))
    one, again, other = (pictures(game.samples(GENERATOR, seed))[0] for seed in ("1", 1, 2))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
    assert "samples_seed_4294967295.png" in game.samples(GENERATOR, HIGHEST_SEED)


def test_garbage_in_any_field_gets_words(gallery: Path) -> None:
    game = Game(Shelf(gallery))
    good: list[object] = [GENERATOR, "digits", "3", "8", "lerp", 0.5]
    answered, refusals = page.worded(game.frame), 0
    assert pictures(answered(*good))
    for place in range(len(good)):
        for value in GARBAGE:
            html = answered(*good[:place], value, *good[place + 1 :])
            refusals += 'class="note"' in html
            assert "<script>" not in html
    assert refusals == len(good) * len(GARBAGE) - 1, "but for the 0.5 on the way"


def test_a_search_for_digits_keeps_only_those_waiting_who_need_it(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    another = runs / "gan/another/mnist_generator.pth"
    another.parent.mkdir(parents=True)
    for kind in (".pth", ".json"):
        another.with_suffix(kind).write_bytes((runs / GENERATOR).with_suffix(kind).read_bytes())
    game, searching, go_on = Game(Shelf(runs)), threading.Event(), threading.Event()
    before = game.frame(GENERATOR, "digits", 3, 8, "lerp", 0.5)

    def slow(*arguments: Any) -> Any:
        searching.set()
        assert go_on.wait(60)
        return class_log_probabilities(*arguments)

    monkeypatch.setattr("scripts.explorer.gan.class_log_probabilities", slow)
    with ThreadPoolExecutor() as pool:
        name = another.relative_to(runs).as_posix()
        waiting = pool.submit(game.frame, name, "digits", 3, 8, "lerp", 0.5)
        assert searching.wait(60)
        assert game.frame(GENERATOR, "digits", 3, 8, "lerp", 0.5) == before  # looked up already
        assert not waiting.done()
        go_on.set()
        assert waiting.result(60) == before.replace(GENERATOR, name)


def test_a_digit_that_is_not_made_is_told(runs: Path) -> None:
    save_generator(MLPGenerator(3, [4]), runs / GENERATOR, weights="raw", step=0, data_source="packaged")
    told = page.worded(Game(Shelf(runs)).frame)(GENERATOR, "digits", 3, 8, "lerp", 0)
    assert "reads none of 4,096 images as a 3 with a confidence of 90% or more" in told


# The memory


@pytest.mark.parametrize(
    ("typed", "palindrome"), [("4079704", "4079704"), ("40", "4004"), ("7", "77"), (" 12 ", "1221"), ("11", "11")]
)
def test_what_is_typed_becomes_a_palindrome(typed: str, palindrome: str) -> None:
    assert written(completed(typed)) == palindrome


@pytest.mark.parametrize(
    "typed", [*(one for one in GARBAGE if one != ""), "", "12 21", "1" * (LONGEST + 1), "12" * 300]
)
def test_what_makes_no_palindrome_is_refused(typed: object) -> None:
    with pytest.raises(UsageError, match="digits: "):
        completed(typed)


def test_an_answer_is_what_the_network_says() -> None:
    palindrome = torch.tensor([4, 0, 7, 0, 4])
    for model, read, blanks in ((PalindromeLSTM(4), 4, 0), (PalindromeLSTM(4, target="second_half"), 3, 2)):
        said, right, sureness = answer(model, palindrome)
        probabilities = model(palindrome[None, :read], blanks).softmax(dim=-1).reshape(-1, 10)
        assert [int(digit) for digit in said] == probabilities.argmax(dim=1).tolist()
        assert sureness == pytest.approx(probabilities.max(dim=1).values.tolist())
        assert right == "40704"[-len(said) :]


def test_answers_and_gates_of_each_network_are_shown(runs: Path, remember: Callable[..., str]) -> None:
    memory = Memory(Shelf(runs))
    lstm, writer = PalindromeLSTM(4, init="chrono", horizon=6), PalindromeLSTM(4, target="second_half")
    names = [remember(lstm, "a"), None, remember(writer, "c")]
    html = memory.answers("4079704", *names)
    assert html.count("<section") == 2
    assert f"{names[0]}: init chrono, hidden size 4, for 6 digits<" in html
    assert f"{names[2]}: init torch, hidden size 4<" in html
    assert "names the last digit" in html
    assert "of 3 digits right" in html
    assert len(pictures(memory.gates("4079704", *names))) == 2
    assert len(memory.random("8")) == 8
    for bad in ([], ["", None]):
        with pytest.raises(UsageError, match="choose a network"):
            memory.answers("44", *bad)


def test_one_network_that_overflows_does_not_silence_the_others(runs: Path, remember: Callable[..., str]) -> None:
    bursting = PalindromeRNN(5, nonlinearity="relu", init="identity")
    with torch.no_grad():
        bursting.network.weight_hh_l0.mul_(3)
    names = [remember(bursting, "burst"), remember(PalindromeLSTM(4), "a")]
    html = Memory(Shelf(runs)).answers("1" * 1000, *names)
    assert "memory overflows within 999 digits" in html
    assert "The LSTM names the last digit" in html


def test_wrong_digits_are_marked_and_names_are_text() -> None:
    assert html.digits("123", "143", "d") == '<code class="d">1<mark title="it was 4">2</mark>3</code>'
    assert "<b" not in html.note("<b>")
    assert "<b" not in html.image(b"", '"<b>').removeprefix("<img ")


# The server


@pytest.fixture
def client(gallery: Path) -> "contextlib.AbstractContextManager[TestClient]":
    return TestClient(server.app(page.build(Shelf(gallery))), base_url="http://127.0.0.1")


def test_the_page_answers_and_nothing_else_of_gradio_does(client: TestClient, gallery: Path) -> None:
    with client:
        home = client.get("/")
        assert home.status_code == 200
        assert "default-src 'self'" in home.headers["content-security-policy"]
        frame = client.post("/gradio_api/run/frame", json={"data": [GENERATOR, "digits", "3", "8", "lerp", 0.5]}).json()
        assert pictures(frame["data"][0])
        for path in (
            *("/gradio_api/file=/etc/passwd", f"/gradio_api/file={gallery / GENERATOR}", "/file=/etc/passwd"),
            *("/gradio_api/file=http://127.0.0.1/", "/gradio_api/proxy=http://127.0.0.1/", "/gradio_api/upload"),
            *("/static/../../../../etc/passwd", "/static/%2e%2e/%2e%2e/%2e%2e/etc/passwd", "/assets//etc/passwd"),
            *("/docs", "/openapi.json", "/monitoring", "/gradio_api/runs", "/gradio_api/stream/a", "/login"),
        ):
            assert client.get(path).status_code == 404, path
        for path in ("upload", "component_server", "vibe-edit", "process_recording", "reset", "call/frame"):
            assert client.post(f"/gradio_api/{path}", json={"data": []}).status_code == 404, path


def test_crafted_calls_get_an_error_and_the_page_goes_on(client: TestClient) -> None:
    good = {"data": [GENERATOR, "digits", "3", "8", "lerp", 0.5]}
    file = {"path": "http://192.0.2.1/x", "meta": {"_type": "gradio.FileData"}}
    with client:
        for body in (
            *(b"", b"[", b"[]", b"{}", b"[" * 50_000, b'{"data": 1}', b'{"data": [{}]}', b"\xff"),
            json.dumps({"data": [file, "digits", "3", "8", "lerp", 0.5]}).encode(),
        ):
            assert client.post("/gradio_api/run/frame", content=body).status_code == 400, body[:50]
        assert client.post("/gradio_api/run/frame", json={"data": ["x"]}).status_code == 400, "too few fields"
        assert client.post("/gradio_api/run/nothing", json=good).status_code == 400
        assert client.post("/gradio_api/queue/join", json={**good, "fn_index": 10_000}).status_code == 400
        assert client.post("/gradio_api/run/frame", content=b" " * 200_000).status_code == 413
        nan = b'{"data": ["%s", "digits", "3", "8", "lerp", NaN]}' % GENERATOR.encode()
        told = client.post("/gradio_api/run/frame", content=nan, headers={"content-type": "application/json"})
        assert "write a number from 0 to 1" in told.json()["data"][0]
        assert client.get("/", headers={"host": "elsewhere.example"}).status_code == 400
        assert pictures(client.post("/gradio_api/run/frame", json=good).json()["data"][0])


# The clients that time it


def test_each_client_has_a_way_of_its_own() -> None:
    for way in WAYS.values():
        ways = [way(client) for client in range(90)]
        assert len(set(ways)) == len(ways)
        assert all(start != end for start, end in ways)


# The command


def test_a_mistake_gets_one_line(refuses: Refuses, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refuses(
        main,
        [
            ("--port many", "--port can't be 'many'; write a whole number"),
            ("--port 70000", "--port is 70000; write 0 to 65535"),
            ("--port -1", "--port is -1; write 0 to 65535"),
            ("--prot 1", "there is no option --prot here; did you mean --port?"),
            ("file", "file is no folder; write the folder that holds your runs, such as runs"),
            ("nowhere", "nowhere is no folder; write the folder that holds your runs, such as runs"),
        ],
    )


def test_a_port_that_is_taken_is_told() -> None:
    with contextlib.closing(server.bind(0)) as taken:
        host, port = taken.getsockname()
        assert host == "127.0.0.1"
        with pytest.raises(UsageError, match=f"port {port} is taken; write another one after --port, or 0"):
            server.bind(port)
    assert taken.family == socket.AF_INET
