"""The explorer as a process, in a browser and over HTTP."""

import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from lightning.pytorch import Trainer

from datamodules import PalindromeDataModule
from lightning_modules import PalindromeLSTM, PalindromeRNN
from networks.generator_files import save_generator
from networks.mlp_gan import MLPGenerator
from twofold.provenance import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

GENERATOR = "demo/gan/gan/20261126-113607-5b91/mnist_generator.pth"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = ["--no-sandbox", "--disable-background-networking", "--disable-gpu"]
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
TIMEOUT = 60_000
"""Milliseconds; a busy machine plots slowly."""

pytestmark = pytest.mark.slow


@contextmanager
def explorer(runs: Path) -> Iterator[str]:
    """The explorer in a subprocess; yields its address and ends it by Ctrl-C."""
    command = [sys.executable, "-m", "scripts.explore", str(runs), "--port", "0"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            assert process.stdout is not None
            address = re.search(r"http://[\d.:]+", process.stdout.readline())
            assert address is not None
            yield address[0]
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=30)
            assert (process.returncode, errors) == (0, "")
        finally:
            process.kill()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, digit_painter: MLPGenerator) -> Path:
    """A folder with a generator and two palindrome networks."""
    root = tmp_path_factory.mktemp("explored")
    save_generator(digit_painter, root / GENERATOR, weights="raw", step=1500, data_source="packaged")
    for name, module in (
        ("demo/lstm/palindrome_lstm/20261126-141019-1069", PalindromeLSTM(8, init="forget_log", horizon=6)),
        ("palindrome_rnn/20261126-141030-c22c", PalindromeRNN(8, init="orthogonal")),
    ):
        trainer = Trainer(max_steps=1, accelerator="cpu", logger=False, enable_checkpointing=False, limit_val_batches=0)
        trainer.fit(module, datamodule=PalindromeDataModule(6))
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
        pytest.skip("there is no Chromium on the PATH")
    with (
        playwright.sync_playwright() as running,
        running.chromium.launch(executable_path=CHROMIUM, args=FLAGS) as chromium,
    ):
        yield chromium


@pytest.fixture
def visit(browser: "Browser") -> "Iterator[Callable[..., Page]]":
    """Opens a page; afterwards it must have asked no other machine, and nothing may have failed."""
    problems: list[str] = []
    contexts = []

    def visit(address: str, viewport: dict[str, int] = DESKTOP, colours: str = "light") -> "Page":
        def report(problem: str, wrong: bool = True) -> None:
            problems.extend([problem] * wrong)

        context = browser.new_context(viewport=viewport, color_scheme=colours)  # type: ignore[arg-type]
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(TIMEOUT)
        own = (f"{address}/", "data:", "blob:")
        page.on("request", lambda request: report(f"asked for {request.url}", not request.url.startswith(own)))
        page.on("response", lambda response: report(f"{response.status} {response.url}", not response.ok))
        page.on("pageerror", lambda error: report(str(error)))
        page.on("console", lambda message: report(message.text, message.type == "error"))
        page.goto(address)
        return page

    yield visit
    for context in contexts:
        context.close()
    assert problems == []


def shown(page: "Page", element: str) -> str:
    """The address of an image, which is named by its content."""
    return page.locator(f"{element} img").get_attribute("src") or ""


def wait_for_another(page: "Page", element: str, before: str) -> None:
    page.wait_for_function(
        f"before => document.querySelector('{element} img') && document.querySelector('{element} img').src != before",
        arg=before,
    )


def test_digit_morphs_while_the_slider_is_dragged(visit: "Callable[..., Page]", address: str) -> None:
    page = visit(address)
    page.wait_for_selector("#prediction :text-is('3')")
    box = page.locator("#t input[type=range]").bounding_box()
    assert box is not None
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 8, y)
    page.mouse.down()
    for step in range(1, 11):
        page.mouse.move(box["x"] + 8 + (box["width"] - 16) * step / 10, y)
    page.mouse.up()
    page.wait_for_selector("#prediction :text-is('8')")
    before = shown(page, "#frame")
    page.get_by_label("seeds").check()
    wait_for_another(page, "#frame", before)
    page.click("#draw-strip")
    page.wait_for_selector("#strip img")
    with page.expect_download() as saved:
        page.locator("#strip a[download], #strip [aria-label*=ownload]").first.click()
    assert Path(saved.value.path()).read_bytes().startswith(b"\x89PNG")
    before = shown(page, "#samples")
    page.click("#another")
    wait_for_another(page, "#samples", before)
    page.locator("#end input").fill("")
    page.wait_for_selector("#message :text('write a number in both fields')")


def test_networks_answer_what_is_typed(visit: "Callable[..., Page]", address: str) -> None:
    page = visit(address)
    page.get_by_role("tab", name="Memory").click()
    page.wait_for_selector("#answers tbody tr >> nth=1")
    typed = page.locator("#digits textarea, #digits input")
    assert len(typed.input_value()) == 20
    typed.fill("407")
    page.wait_for_selector("#answers :text('Palindrome of 6 digits: 407704')")
    page.click("#plot-gates")
    page.wait_for_selector("#gates img")
    typed.fill("12 21")
    page.wait_for_selector("#answers :text('write a palindrome')")
    page.click("#random")
    page.wait_for_selector("#answers :text('Palindrome of 20 digits')")


@pytest.mark.parametrize(("viewport", "colours"), [(DESKTOP, "light"), (PHONE, "dark")], ids=["desktop", "phone"])
def test_page_fits_its_width(
    visit: "Callable[..., Page]", address: str, viewport: dict[str, int], colours: str
) -> None:
    page = visit(address, viewport, colours)
    page.wait_for_selector("#samples img")
    page.click("#draw-strip")
    page.wait_for_selector("#strip img")
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    page.get_by_role("tab", name="Memory").click()
    page.wait_for_selector("#answers tbody tr")
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g)[0] < 128")
    assert dark == (colours == "dark")


def test_new_run_appears_after_a_reload(
    visit: "Callable[..., Page]", digit_painter: MLPGenerator, tmp_path: Path
) -> None:
    with explorer(tmp_path) as address:
        page = visit(address)
        page.wait_for_selector("#message :text('twofold fit -c configs/gan.yaml')")
        page.get_by_role("tab", name="Memory").click()
        page.wait_for_selector("#answers :text('twofold fit -c configs/palindrome_lstm.yaml')")
        save_generator(digit_painter, tmp_path / GENERATOR, weights="raw", step=1500, data_source="packaged")
        page.reload()
        page.wait_for_selector("#frame img")
        page.close()
