"""The explorer as people meet it: in a browser, many at once, and started from a terminal."""

import shutil
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from lightning.pytorch import Trainer

from benchmarks import explorer_latency
from benchmarks.explorer_latency import WAYS, dragged_at_once, explorer
from benchmarks.explorer_latency import drag as drag_slider
from datamodules import PalindromeDataModule
from lightning_modules import PalindromeLSTM, PalindromeRNN
from networks.generator_files import save_generator
from networks.mlp_gan import MLPGenerator
from twofold.provenance import ROOT
from twofold.tables import read_rows

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

GENERATOR = "demo/gan/gan/20261126-113607-5b91/mnist_generator.pth"
BEST = GENERATOR.replace("mnist_", "best_")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)
FLAGS = ["--no-sandbox", "--disable-background-networking"]
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
PATIENCE = 60_000
"""Milliseconds; a busy machine draws heat maps slowly."""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, digit_painter: MLPGenerator) -> Path:
    """A folder with the generators of a run and three memories, called as runs are."""
    root = tmp_path_factory.mktemp("explored")
    for name in (BEST, GENERATOR):  # the newest comes first
        save_generator(digit_painter, root / name, weights="raw", step=1500, data_source="packaged")
    for name, module in (
        ("demo/lstm/palindrome_lstm/20261126-141019-1069", PalindromeLSTM(8, init="forget_log", horizon=6)),
        ("demo/rnn/palindrome_rnn/20261126-141030-c22c", PalindromeRNN(8, init="orthogonal")),
        ("palindrome_recall/20261126-141041-0990", PalindromeLSTM(8, target="second_half")),
    ):
        trainer = Trainer(max_steps=1, accelerator="cpu", logger=False, enable_checkpointing=False, limit_val_batches=0)
        trainer.fit(module, datamodule=PalindromeDataModule(6, target=module.target))
        trainer.save_checkpoint(root / name / "checkpoints" / "best.ckpt")
    return root


@pytest.fixture(scope="module")
def address(runs: Path) -> Iterator[str]:
    with explorer(runs) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip(f"on the PATH is none of {', '.join(BROWSERS)}")
    with (
        playwright.sync_playwright() as running,
        running.chromium.launch(executable_path=CHROMIUM, args=FLAGS) as chromium,
    ):
        yield chromium


@pytest.fixture
def visit(browser: "Browser") -> "Iterator[Callable[..., Page]]":
    """Opens a page; afterwards nothing may have been asked of another machine, nor anything have gone wrong."""
    troubles: list[str] = []
    contexts = []

    def visit(address: str, viewport: dict[str, int] = DESKTOP, colours: str = "light") -> "Page":
        def complain(about: str, wrong: bool = True) -> None:
            troubles.extend([about] * wrong)

        def requested(url: str) -> None:
            complain(f"asked for {url}", not url.startswith((f"{address}/", "data:", "blob:")))

        context = browser.new_context(viewport=viewport, color_scheme=colours)  # type: ignore[arg-type]
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.on("request", lambda request: requested(request.url))
        page.on("websocket", lambda socket: complain(f"asked for {socket.url}"))
        page.on("response", lambda response: complain(f"{response.status} {response.url}", not response.ok))
        page.on("pageerror", lambda error: complain(str(error)))
        page.on("console", lambda said: complain(said.text, said.type == "error"))
        page.goto(address)
        return page

    yield visit
    for context in contexts:
        context.close()
    assert troubles == []


def shown(page: "Page") -> str:
    """The digit's image, as its address."""
    return page.locator("#frame img.digit").get_attribute("src") or ""


def drag(page: "Page", share: float) -> None:
    """Takes the slider's thumb and lets go at this share of its way."""
    box = page.locator("#t input[type=range]").bounding_box()
    assert box is not None
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 8, y)
    page.mouse.down()
    for step in range(1, 11):
        page.mouse.move(box["x"] + 8 + (box["width"] - 16) * share * step / 10, y)
    page.mouse.up()


def test_the_digit_morphs_while_the_slider_is_dragged(
    visit: "Callable[..., Page]", address: str, tmp_path: Path
) -> None:
    page = visit(address)
    page.wait_for_selector("#frame img[alt*='reads as 3']")
    drag(page, 1)
    page.wait_for_selector("#frame img[alt*='reads as 8']")
    straight = shown(page)
    page.get_by_label("seeds").check()
    page.wait_for_function("old => document.querySelector('#frame img.digit').src != old", arg=straight)
    assert page.locator("#end textarea, #end input").input_value() == "2"
    before = shown(page)
    page.locator("#end textarea, #end input").fill("81")
    page.wait_for_function("old => document.querySelector('#frame img.digit').src != old", arg=before)
    page.click("#draw-strip")
    with page.expect_download() as saved:
        page.click("#strip a.download")
    assert saved.value.suggested_filename == "seed_1_to_seed_81_linear.png"
    assert Path(saved.value.path()).read_bytes().startswith(b"\x89PNG")
    grid = page.locator("#samples img").get_attribute("src")
    page.click("#another")
    page.wait_for_function("old => document.querySelector('#samples img').src != old", arg=grid)
    page.screenshot(path=tmp_path / "game.png", full_page=True)


def test_networks_answer_what_is_typed(visit: "Callable[..., Page]", address: str) -> None:
    page = visit(address)
    page.get_by_role("tab", name="Memory").click()
    page.wait_for_selector("#answers .card >> nth=2")
    typed = page.locator("#digits textarea, #digits input")
    assert len(typed.input_value()) == 20
    typed.fill("407")
    page.wait_for_selector("#answers :text('palindrome of 6 digits')")
    assert page.locator("#answers .digits.long").first.inner_text() == "407704"
    assert page.locator("#answers .card").count() == 3
    page.click("#draw-gates")
    page.wait_for_selector("#gates img >> nth=2")
    page.click("#random")
    page.wait_for_selector("#answers :text('palindrome of 20 digits')")
    assert page.locator("#gates img").count() == 0, "they were another palindrome's"


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_nothing_sticks_out_at_any_width(
    visit: "Callable[..., Page]", address: str, viewport: dict[str, int], colours: str
) -> None:
    page = visit(address, viewport, colours)
    page.wait_for_selector("#samples img")
    for tab, ready in (("Game", "#frame img"), ("Memory", "#answers .card >> nth=2")):
        page.get_by_role("tab", name=tab).click()
        page.wait_for_selector(ready)
        assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g)[0] < 128")
    assert dark == (colours == "dark")


def test_a_strip_is_not_shrunk_to_a_phone_s_width(visit: "Callable[..., Page]", address: str) -> None:
    page = visit(address, PHONE)
    page.wait_for_selector("#frame img")
    page.click("#draw-strip")
    page.wait_for_selector("#strip img")
    assert page.locator("#strip img").evaluate("strip => strip.complete && strip.width == strip.naturalWidth")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


COLOURS = """element => {
    const background = at => getComputedStyle(at).backgroundColor
    let behind = element
    while (background(behind) == "rgba(0, 0, 0, 0)") behind = behind.parentElement
    return [getComputedStyle(element).color, background(behind)].map(text => text.match(/[0-9.]+/g).map(Number))
}"""


def luminance(colour: list[float]) -> float:
    """As WCAG has it: https://www.w3.org/TR/WCAG22/#dfn-relative-luminance"""
    linear = [((c / 255 + 0.055) / 1.055) ** 2.4 if c > 10 else c / 255 / 12.92 for c in colour[:3]]
    return sum(share * c for share, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_hints_and_marks_stand_out(visit: "Callable[..., Page]", address: str, colours: str) -> None:
    page = visit(address, DESKTOP, colours)
    page.get_by_role("tab", name="Memory").click()
    page.wait_for_selector("#answers .digits mark")  # hardly trained, it can't have written ten digits right
    for text in ("#digits :text('which is then mirrored')", "#length .max_value", "#answers .digits mark >> nth=0"):
        lower, higher = sorted(map(luminance, page.locator(text).evaluate(COLOURS)))
        assert (higher + 0.05) / (lower + 0.05) >= 4.5, text


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_the_names_of_what_is_chosen_are_wholly_visible(
    visit: "Callable[..., Page]", address: str, viewport: dict[str, int]
) -> None:
    page = visit(address, viewport)
    page.wait_for_selector("#frame figcaption")
    page.locator("#generator input").click()
    page.get_by_role("option", name="gan 5b91, the best, 1,500 batches").click()
    page.wait_for_selector(f"#frame figcaption:text('{BEST}: after 1,500 batches of the packaged digits')")
    page.get_by_role("tab", name="Memory").click()
    page.wait_for_selector("#answers .card >> nth=2")
    for field, name, tab in (
        ("generator", "gan 5b91, the best, 1,500 batches", "Game"),
        ("lstm", "lstm 1069, forget_log, 6 digits", "Memory"),
        ("rnn", "rnn c22c, orthogonal", "Memory"),
        ("writer", "recall 0990, torch", "Memory"),
    ):
        page.get_by_role("tab", name=tab).click()
        chosen = page.locator(f"#{field} input")
        assert chosen.input_value() == name
        assert chosen.evaluate("input => [input.clientWidth > 0, input.scrollWidth - input.clientWidth]") == [True, 0]


GARBAGE = ["", "x", "-1", "9" * 5000, "<img src=http://192.0.2.1/x onerror=alert(1)>", "1e9", "٣", "12 21"]


def test_garbage_gets_words_and_the_page_goes_on(visit: "Callable[..., Page]", address: str) -> None:
    page = visit(address)
    page.wait_for_selector("#frame img.digit")
    for field, answer, good in (("#start", "#frame", "3"), ("#seed", "#samples", "5"), ("#digits", "#answers", "44")):
        if field == "#digits":
            page.get_by_role("tab", name="Memory").click()
            page.wait_for_selector("#answers .card")
        for text in GARBAGE:
            page.locator(f"{field} textarea, {field} input").fill(text)
            page.wait_for_selector(f"{answer} .note")
        page.locator(f"{field} textarea, {field} input").fill(good)
        page.wait_for_selector(f"{answer} .note", state="detached")


def test_without_runs_it_says_what_to_run(visit: "Callable[..., Page]", tmp_path: Path) -> None:
    with explorer(tmp_path) as address:
        page = visit(address)
        page.get_by_text("twofold fit -c configs/gan.yaml").wait_for()
        page.get_by_role("tab", name="Memory").click()
        page.get_by_text("twofold fit -c configs/palindrome_lstm.yaml").wait_for()
        assert not page.locator("#digits").is_visible()
        page.close()


def test_there_is_no_field_where_there_is_nothing_to_choose(
    visit: "Callable[..., Page]", runs: Path, tmp_path: Path
) -> None:
    shutil.copytree(runs / "demo/lstm", tmp_path / "lstm")
    with explorer(tmp_path) as address:
        page = visit(address)
        page.get_by_text("twofold fit -c configs/gan.yaml").wait_for()
        page.get_by_role("tab", name="Memory").click()
        page.wait_for_selector("#answers .card")
        assert [page.locator(f"#{field}").is_visible() for field in ("lstm", "rnn", "writer")] == [True, False, False]
        page.close()


@pytest.mark.parametrize("between", WAYS)
def test_many_at_once_each_get_their_own_pictures(address: str, between: str) -> None:
    clients = 20
    alone = [drag_slider(address, client, GENERATOR, between) for client in range(clients)]
    together = dragged_at_once(address, clients, GENERATOR, between)
    for before, now in zip(alone, together, strict=True):
        assert [answer for answer, _ in before] == [answer for answer, _ in now]
    ways = {tuple(answer for answer, _ in moves) for moves in together}
    assert len(ways) > clients / 2, "else they couldn't be told apart"


def test_answers_are_timed_between_seeds_and_between_digits(
    digit_painter: MLPGenerator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trained(runs: Path) -> Path:
        save_generator(digit_painter, runs / GENERATOR, weights="raw", step=1500, data_source="packaged")
        return runs / GENERATOR

    for name, value in {"train_generator": trained, "CLIENTS": (1, 2), "MOVES": 3}.items():
        monkeypatch.setattr(explorer_latency, name, value)
    explorer_latency.explorer_latency(Namespace(out=tmp_path))
    rows = read_rows(tmp_path / "explorer_latency.csv")
    assert [(row["between"], row["clients"], row["requests"], row["wrong_answers"]) for row in rows] == [
        ("seeds", "1", "3", "0"),
        ("seeds", "2", "6", "0"),
        ("digits", "1", "3", "0"),
        ("digits", "2", "6", "0"),
    ]
    assert all(0 < float(row["median_ms"]) <= float(row["p95_ms"]) for row in rows)


def test_a_port_that_is_taken_gets_one_line(address: str, runs: Path) -> None:
    port = address.rpartition(":")[2]
    command = [sys.executable, "-m", "scripts.explore", str(runs), "--port", port]
    second = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    told = f"explore: port {port} is taken; write another one after --port, or 0 for any that is free\n"
    assert (second.returncode, second.stdout, second.stderr) == (2, "", told)
