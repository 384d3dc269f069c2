"""The explorer as a process, in a browser."""

import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conditional_networks import generator
from lightning.pytorch import Trainer
from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright
from started import start

from datamodules import PalindromeDataModule, ParityDataModule
from lightning_modules import PalindromeLSTM, PalindromeRNN, SequenceModel
from networks.generator_files import save_generator
from networks.mlp_gan import MLPGenerator
from networks.rnn import RNN

Visit = Callable[[str], Page]
GENERATOR = "demo/gan/gan/20261126-113607-5b91/mnist_generator.pth"
CONDITIONAL = "gan_conditional/20261126-113607-77cf/mnist_generator.pth"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = ["--no-sandbox", "--disable-background-networking", "--disable-gpu"]
TIMEOUT = 60_000
"""Milliseconds; a busy machine plots slowly."""

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on the PATH")]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, digit_painter: MLPGenerator) -> Iterator[str]:
    """The explorer of a folder with a generator and networks of two tasks, in a subprocess that Ctrl-C ends."""
    root = tmp_path_factory.mktemp("explored")
    save_generator(generator(), root / CONDITIONAL, weights="ema", step=1500, data_source="packaged")
    os.utime(root / CONDITIONAL, (0, 0))  # the newest is chosen
    save_generator(digit_painter, root / GENERATOR, weights="raw", step=1500, data_source="packaged")
    palindromes, parity = PalindromeDataModule(6), ParityDataModule(6)
    for name, module, data in (
        ("parity/20261126-141009-9a1b", SequenceModel(RNN(2, 8)), parity),
        (
            "demo/lstm/palindrome_lstm/20261126-141019-1069",
            PalindromeLSTM(8, init="forget_log", horizon=6),
            palindromes,
        ),
        ("palindrome_rnn/20261126-141030-c22c", PalindromeRNN(8, init="orthogonal"), palindromes),
    ):
        trainer = Trainer(max_steps=1, accelerator="cpu", logger=False, enable_checkpointing=False, limit_val_batches=0)
        trainer.fit(module, datamodule=data)
        trainer.save_checkpoint(root / name / "checkpoints" / "best.ckpt")
    process = start(root, "-m", "scripts.explore", root, "--port", 0)
    try:
        assert process.stdout is not None
        [address] = re.findall(r"http://[\d.:]+", process.stdout.readline())
        yield address
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
        assert (process.returncode, errors) == (0, "")
    finally:
        process.kill()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with (
        sync_playwright() as running,
        running.chromium.launch(executable_path=CHROMIUM, args=FLAGS) as chromium,
    ):
        yield chromium


@pytest.fixture(params=["desktop", "phone"])
def visit(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Visit]:
    """Opens a page on a light desktop or a dark phone; it must fit, stay without errors, and ask no other machine."""
    phone = request.param == "phone"
    size: ViewportSize = {"width": 390, "height": 844} if phone else {"width": 1280, "height": 900}
    context = browser.new_context(viewport=size, color_scheme="dark" if phone else "light")
    context.set_default_timeout(TIMEOUT)
    problems: list[str] = []

    def report(problem: str, harmless: bool = False) -> None:
        problems.extend([problem] * (not harmless))

    def visit(address: str) -> Page:
        page = context.new_page()
        own = (f"{address}/", "data:", "blob:")
        page.on("request", lambda request: report(request.url, request.url.startswith(own)))
        page.on("response", lambda response: report(f"{response.status} {response.url}", response.ok))
        page.on("pageerror", lambda error: report(str(error)))
        page.on("console", lambda message: report(message.text, message.type != "error"))
        page.goto(address)
        return page

    yield visit
    for page in context.pages:
        assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
        assert page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g)[0] < 128") == phone
    context.close()
    assert problems == []


@contextmanager
def another_image(page: Page, element: str) -> Iterator[None]:
    """Waits until the element shows another image; an image's address is the hash of its content."""
    before = page.locator(f"{element} img").get_attribute("src")
    yield
    page.wait_for_selector(f"{element} img:not([src='{before}'])")


def test_digit_morphs_while_the_slider_is_dragged(visit: Visit, address: str) -> None:
    page = visit(address)
    page.wait_for_selector("#prediction :text-is('3')")
    slider = page.locator("#t input[type=range]")
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 8, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 8, box["y"] + box["height"] / 2, steps=10)
    page.mouse.up()
    page.wait_for_selector("#prediction :text-is('8')")
    with another_image(page, "#frame"):
        page.get_by_label("seeds").check()
    page.click("#draw-strip")
    page.wait_for_selector("#strip img")
    with page.expect_download() as saved:
        page.locator("#strip a[download], #strip [aria-label*=ownload]").first.click()
    assert Path(saved.value.path()).read_bytes().startswith(b"\x89PNG")
    with another_image(page, "#samples"):
        page.click("#another")
    page.locator("#end input").fill("")
    page.wait_for_selector("#message :text('write a number in both fields')")


def test_classes_are_chosen_where_the_generator_has_them(visit: Visit, address: str) -> None:
    def choose(element: str, option: str) -> None:
        page.locator(f"{element} input").click()
        page.get_by_role("option", name=option).first.click()

    page = visit(address)
    page.wait_for_selector("#prediction :text-is('3')")
    assert page.locator("#first-class").is_hidden()
    with another_image(page, "#samples"), another_image(page, "#frame"):
        choose("#generator", "gan_conditional")
    with another_image(page, "#samples"):
        choose("#classes", "7")
    assert page.get_by_label("seeds").is_checked()
    with another_image(page, "#frame"):
        choose("#first-class", "3")
    with another_image(page, "#frame"):
        page.locator("#start input").fill("8")
    page.get_by_label("digits").check()
    page.wait_for_selector("#message :text('this generator has classes; choose seeds, and the class of each')")
    choose("#generator", "demo/gan")
    page.wait_for_selector("#first-class", state="hidden")
    page.get_by_label("digits").check()
    page.wait_for_selector("#prediction :text-is('8')")


def test_networks_answer_what_is_typed(visit: Visit, address: str) -> None:
    page = visit(address)
    page.get_by_role("tab", name="Memory").click()
    page.wait_for_selector("#answers tbody tr >> nth=1")
    typed = page.locator("#symbols textarea, #symbols input")
    assert len(typed.input_value()) == 20
    typed.fill("407")
    page.wait_for_selector("#answers :text('Palindrome of 6 digits: 407704')")
    page.click("#plot-gates")
    page.wait_for_selector("#gates img")
    typed.fill("12x")
    page.wait_for_selector("#answers :text(\"symbol 'x' isn't one of\")")
    page.click("#random")
    page.wait_for_selector("#answers :text('Palindrome of 20 digits')")
    page.locator("#task input").click()
    page.get_by_role("option", name="parity").click()
    page.wait_for_selector("#answers :text('20 steps of parity')")
    page.locator("#case input").click()
    page.get_by_role("option", name="all_ones").click()
    page.wait_for_selector(f"#answers :text('20 steps of parity: {' '.join('1' * 20)}')")
