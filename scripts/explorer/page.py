"""The page: what stands where, and which function answers when something is moved, chosen or pressed.

Functions get what the fields hold as it came, without Gradio's own checks, so that all refusals are in our words and in
one place, and they answer with HTML. Quick ones bypass Gradio's queue: one request, one answer. Of texts it is `change`
that is listened to, for Gradio's `input` doesn't hear what is deleted or pasted.
"""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import gradio as gr

from common.seeding import run_seed
from scripts.explorer import html
from scripts.explorer.gan import ENDS, Game
from scripts.explorer.memory import LONGEST, Memory
from scripts.explorer.model_index import Book, Kind, Shelf
from scripts.plot_gates import DEFAULT_LENGTH
from twofold.errors import UsageError, one_line

NO_GENERATOR = (
    "There is no generator under {root} yet. Train one with: twofold fit -c configs/gan.yaml (some minutes), "
    "or see both lessons in short with: make demo. Then reload this page."
)
NO_MEMORY = (
    "There is no palindrome network under {root} yet. Train some with: twofold fit -c configs/palindrome_lstm.yaml "
    "(seconds), configs/palindrome_rnn.yaml and configs/palindrome_recall.yaml. Then reload this page."
)
LOOKING = "Looking where in the noise this generator has its digits. That takes some seconds, once."
MEMORIES: dict[Kind, str] = {"lstm": "LSTM", "rnn": "RNN", "writer": "Writer of the second half"}
STARTS = {"digits": ("3", "8"), "seeds": ("1", "2")}

QUICK: dict[str, Any] = {"preprocess": False, "queue": False, "show_progress": "hidden", "trigger_mode": "always_last"}
SLOW: dict[str, Any] = {"preprocess": False, "concurrency_limit": 1, "trigger_mode": "once"}
"""One at a time, with a sign that something is being made."""


def build(shelf: Shelf) -> gr.Blocks:
    """The page for the networks on a shelf."""
    blocks = gr.Blocks(title="Twofold explorer", analytics_enabled=False, fill_width=True)
    with blocks:
        gr.HTML(
            "<h1>Twofold explorer</h1><p>Two lessons to play with: "
            "a generator that turns noise into digits, and networks that remember.</p>"
        )
        with gr.Tab("Game", id="game"):
            _game(blocks, shelf)
        with gr.Tab("Memory", id="memory"):
            _memory(blocks, shelf)
    return blocks


def _game(blocks: gr.Blocks, shelf: Shelf) -> None:
    game = Game(shelf)
    missing = gr.HTML(visible=False)
    with gr.Column(visible=False) as controls:
        name = gr.Dropdown([], label="Generator", elem_id="generator")
        with gr.Row():
            kind = gr.Radio(list(ENDS), value="digits", label="Walk between two", elem_id="kind")
            path = gr.Radio(
                [("a straight line", "lerp"), ("an arc", "slerp")], value="lerp", label="Along", elem_id="path"
            )
        with gr.Row(elem_classes="pair"):
            start = gr.Textbox("3", label="From", max_lines=1, min_width=80, elem_id="start")
            end = gr.Textbox("8", label="To", max_lines=1, min_width=80, elem_id="end")
        t = gr.Slider(0, 1, value=0, step=0.01, label="Place on the way", buttons=[], elem_id="t")
        frame = gr.HTML(html.note(LOOKING), elem_id="frame")
        strip_button = gr.Button("Draw the whole way as a strip", elem_id="draw-strip")
        strip = gr.HTML(elem_id="strip")
        gr.HTML("<h2>Random samples</h2>")
        with gr.Row(elem_classes="pair"):
            seed = gr.Textbox("1", label="Seed", max_lines=1, min_width=80, elem_id="seed")
            another = gr.Button("Other samples", elem_id="another")
        samples = gr.HTML(elem_id="samples")

    way = [name, kind, start, end, path]
    shown = worded(game.frame)

    def arrive() -> list[Any]:
        return _arrival(shelf.generators(), NO_GENERATOR.format(root=shelf.root))

    def other_ends(value: object) -> list[Any]:
        first, second = STARTS.get(value if isinstance(value, str) else "", STARTS["digits"])
        return [first, second, ""]

    moved: dict[str, Any] = {"fn": shown, "inputs": [*way, t], "outputs": frame, **QUICK}
    drawn: dict[str, Any] = {"fn": worded(game.samples), "inputs": [name, seed], "outputs": samples, **QUICK}
    t.input(**moved, api_name="frame")
    for changed in (start.change, end.change, path.input):
        changed(**moved, api_visibility="private")
        changed(lambda: "", outputs=strip, **QUICK, api_visibility="private")
    kind.input(other_ends, kind, [start, end, strip], **QUICK, api_visibility="private").then(
        **moved, api_visibility="private"
    )
    name.input(lambda: "", outputs=strip, **QUICK, api_visibility="private")
    name.input(**{**moved, "show_progress": "full"}, api_visibility="private")  # it may take seconds, once
    name.input(**drawn, api_visibility="private")
    strip_button.click(worded(game.strip), way, strip, **SLOW, api_name="strip")
    seed.change(**drawn, api_name="samples")
    another.click(lambda: str(run_seed()), None, seed, **QUICK, api_visibility="private")
    blocks.load(arrive, None, [missing, controls, name], queue=False, api_visibility="private").then(
        **moved, api_visibility="private"
    ).then(**drawn, api_visibility="private")


def _memory(blocks: gr.Blocks, shelf: Shelf) -> None:
    memory = Memory(shelf)
    missing = gr.HTML(visible=False)
    with gr.Column(visible=False) as controls:
        with gr.Row():
            names = [gr.Dropdown([], label=label, min_width=300, elem_id=kind) for kind, label in MEMORIES.items()]
        length = gr.Slider(2, LONGEST, value=DEFAULT_LENGTH, step=1, label="Length T", buttons=[], elem_id="length")
        random = gr.Button("Another random palindrome", elem_id="random")
        digits = gr.Textbox(
            label="Digits",
            info="A palindrome, or its beginning, which is then mirrored.",
            max_lines=3,
            elem_id="digits",
        )
        answers = gr.HTML(elem_id="answers")
        gates_button = gr.Button("Show what the gates do", elem_id="draw-gates")
        gates = gr.HTML(elem_id="gates")

    answered = worded(memory.answers)

    def arrive() -> list[Any]:
        books = [shelf.memories(kind) for kind in MEMORIES]
        note, column, _ = _arrival([book for some in books for book in some], NO_MEMORY.format(root=shelf.root))
        return [note, column, *map(_choices, books)]

    def random_one(wanted: object) -> list[Any]:
        try:
            return [memory.random(wanted), gr.skip()]
        except UsageError as error:
            return [gr.skip(), html.note(one_line(error))]

    asked: dict[str, Any] = {"fn": answered, "inputs": [digits, *names], "outputs": answers, **QUICK}
    drawn: dict[str, Any] = {"fn": random_one, "inputs": length, "outputs": [digits, answers], **QUICK}
    digits.change(**asked, api_name="answers")
    digits.change(lambda: "", outputs=gates, **QUICK, api_visibility="private")
    for changed in names:
        changed.input(**asked, api_visibility="private")
        changed.input(lambda: "", outputs=gates, **QUICK, api_visibility="private")
    random.click(**drawn, api_name="random")
    length.input(**drawn, api_visibility="private")
    gates_button.click(worded(memory.gates), [digits, *names], gates, **SLOW, api_name="gates")
    blocks.load(arrive, None, [missing, controls, *names], queue=False, api_visibility="private").then(
        **drawn, api_visibility="private"
    )


def worded(answer: Callable[..., str]) -> Callable[..., str]:
    """The same, but what is refused becomes a sentence in its place."""

    @wraps(answer)
    def answer_or_words(*values: object) -> str:
        try:
            return answer(*values)
        except (UsageError, ValueError) as error:
            return html.note(one_line(error))

    return answer_or_words


def _arrival(books: Sequence[Book], nothing: str) -> list[Any]:
    """Either the controls with what there is to choose, or what to do so that there is something."""
    return [
        gr.update(value=html.note(nothing), visible=not books),
        gr.update(visible=bool(books)),
        _choices(books),
    ]


def _choices(books: Sequence[Book]) -> Any:
    """All titles to choose from, the first chosen; no field where there is nothing to choose."""
    return gr.update(
        choices=[(title, name) for name, title in books],
        value=books[0].name if books else None,
        visible=bool(books),
    )
