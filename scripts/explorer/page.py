"""The page: its components, and the function that answers each event.

Gradio checks that a value is among a component's choices or limits. What else can be wrong is shown as a message.
Events of sliders and text fields bypass Gradio's queue: one request, one answer.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

import gradio as gr

from common.seeding import HIGHEST_SEED, run_seed
from datamodules import PalindromeDataModule
from metrics.interpolation import INTERPOLATIONS
from scripts.explorer.gan import GANExplorer
from scripts.explorer.memory import MemoryExplorer
from scripts.explorer.model_index import ModelIndex
from scripts.tasks import DEFAULT_LENGTH, MAX_TYPED
from twofold.errors import UsageError, one_line

AS_TRAINED = "as in training"
"""The choice of random sequences beside a task's worst cases."""

Event = dict[str, Any]
"""Arguments of an event listener."""

QUICK: Event = {"queue": False, "show_progress": "hidden", "trigger_mode": "always_last"}
SLOW: Event = {"concurrency_limit": 1, "trigger_mode": "once"}
PRIVATE: Event = {"queue": False, "api_visibility": "private"}
SEED: dict[str, Any] = {"precision": 0, "minimum": 0, "maximum": HIGHEST_SEED}
PICTURE: dict[str, Any] = {"format": "png", "interactive": False, "buttons": ["download", "fullscreen"]}

THEME = gr.themes.Default(
    primary_hue="blue",
    font=("ui-sans-serif", "system-ui", "sans-serif"),  # fonts of the machine: the page needs no network
    font_mono=("ui-monospace", "Consolas", "monospace"),
).set(body_text_color_subdued="*neutral_500")  # Gradio's own is too pale to read on white
CSS = """
.gradio-container { max-width: 1120px !important; margin: 0 auto !important; }
#frame img { image-rendering: pixelated; }
#answers { overflow-wrap: anywhere; }
.gradio-container input[role=combobox] { padding-right: 1.8rem; text-overflow: ellipsis; }
mark { background: #c53030; color: white; }
"""


def build(index: ModelIndex) -> gr.Blocks:
    """Builds the page for the networks in an index."""
    blocks = gr.Blocks(title="Twofold explorer", analytics_enabled=False, fill_width=True)
    with blocks:
        gr.Markdown(
            "# Twofold explorer\nTwo lessons: a generator that turns noise into digits, and networks with memory."
        )
        with gr.Tab("GAN"):
            _gan(blocks, index)
        with gr.Tab("Memory"):
            _memory(blocks, index)
    return blocks


def _gan(blocks: gr.Blocks, index: ModelIndex) -> None:
    def generators() -> gr.Dropdown:
        choices = index.generators()
        return gr.Dropdown(choices, value=choices[0][1] if choices else None, label="Generator", elem_id="generator")

    def class_choices(name: str | None) -> tuple[gr.Dropdown, ...]:
        """The classes of both ends and of samples, hidden for an unconditional generator."""
        choices = [(label, number) for number, label in enumerate(gan.classes(name))]
        shown: dict[str, Any] = {"choices": choices, "visible": bool(choices)}
        return (
            gr.Dropdown(**shown, value=None, label="Class of the first seed", elem_id="first-class"),
            gr.Dropdown(**shown, value=None, label="Class of the last seed", elem_id="last-class"),
            gr.Dropdown(**shown, value=[], multiselect=True, label="Classes of the samples, or all", elem_id="classes"),
        )

    def between_choice(name: str | None, chosen: str = "digits") -> gr.Radio:
        """What was chosen, or seeds for a generator that has no frames between digits."""
        value = chosen if gan.makes_digits(name) else "seeds"
        return gr.Radio(["digits", "seeds"], value=value, label="Between two", elem_id="between")

    def choices(name: str | None, chosen: str) -> tuple[gr.Radio | gr.Dropdown, ...]:
        return between_choice(name, chosen), *class_choices(name)

    gan, name = GANExplorer(index), generators()
    with gr.Row():
        between = between_choice(name.value)
        start = gr.Number(3, label="From", min_width=90, elem_id="start", **SEED)
        end = gr.Number(8, label="To", min_width=90, elem_id="end", **SEED)
        interpolation = gr.Radio(list(INTERPOLATIONS), value="lerp", label="Interpolation", elem_id="interpolation")
    with gr.Row():
        *ends, classes = class_choices(name.value)
    t = gr.Slider(0, 1, value=0, step=0.01, label="t", buttons=[], elem_id="t")
    message = gr.Markdown(elem_id="message")
    with gr.Row():
        frame = gr.Image(label="Image", height=320, elem_id="frame", **PICTURE)
        prediction = gr.Label(label="Classifier", num_top_classes=3, elem_id="prediction")
    strip_button = gr.Button("Draw a strip", elem_id="draw-strip")
    strip = gr.Image(show_label=False, elem_id="strip", **PICTURE)
    with gr.Row():
        seed = gr.Number(1, label="Seed", elem_id="seed", **SEED)
        another = gr.Button("Another seed", elem_id="another")
    sample_message = gr.Markdown()
    samples = gr.Image(show_label=False, elem_id="samples", **PICTURE)

    path, drawn = [name, between, start, end, interpolation], [samples, sample_message]
    shown = [frame, prediction, message]
    show: Event = {"fn": _or_message(gan.frame, 2), "inputs": [*path, t, *ends], "outputs": shown}
    sample: Event = {"fn": _or_message(gan.samples, 1), "inputs": [name, seed, classes], "outputs": drawn}
    moved = [between.input, start.change, end.change, interpolation.input, t.input, *(each.input for each in ends)]
    gr.on(moved, **show, **QUICK, api_name="frame")
    gr.on([seed.change, classes.input], **sample, **QUICK, api_name="samples")
    strip_button.click(_or_message(gan.strip, 1), [*path, *ends], [strip, message], **SLOW, api_name="strip")
    another.click(run_seed, None, seed, **PRIVATE)
    choose: Event = {"fn": choices, "inputs": [name, between], "outputs": [between, *ends, classes]}
    chosen = name.input(**choose, **QUICK, api_name="classes")
    listed = blocks.load(generators, None, name, **PRIVATE).then(**choose, **PRIVATE)
    for event in (chosen, listed):
        event.then(**show, **PRIVATE).then(**sample, **PRIVATE)


def _memory(blocks: gr.Blocks, index: ModelIndex) -> None:
    def tasks() -> gr.Dropdown:
        titles = [*index.networks()]
        return gr.Dropdown(titles, value=titles[0] if titles else None, label="Task", elem_id="task")

    def choose(title: str | None, length: int) -> tuple[gr.Dropdown, gr.Dropdown, gr.Slider, gr.Textbox]:
        """Networks, cases, lengths and a sequence of a task."""
        choices = index.networks().get(title or "", [])
        chosen = [name for _, name in choices[:2]]
        task = index.network(chosen[0])[1] if chosen else PalindromeDataModule(DEFAULT_LENGTH)
        least, length = task.least_length, max(length, task.least_length)
        hint = f"Symbols: {' '.join(task.symbol_names)}"
        if isinstance(task, PalindromeDataModule):
            hint = "A palindrome, or its first half."
        symbols = memory.random(chosen, AS_TRAINED, length) if chosen else ""
        return (
            gr.Dropdown(choices, value=chosen, multiselect=True, label="Networks", elem_id="names"),
            gr.Dropdown([AS_TRAINED, *task.cases], value=AS_TRAINED, label="Random sequences", elem_id="case"),
            gr.Slider(least, MAX_TYPED, value=length, step=1, label="Length", buttons=[], elem_id="length"),
            gr.Textbox(symbols, label="Sequence", info=hint, max_lines=3, elem_id="symbols"),
        )

    memory, task = MemoryExplorer(index), tasks()
    names, case, length, symbols = choose(task.value, DEFAULT_LENGTH)
    another = gr.Button("Random sequence", elem_id="random")
    answers = gr.Markdown(elem_id="answers")
    gates_button = gr.Button("Plot the gates", elem_id="plot-gates")
    gates = gr.Image(show_label=False, elem_id="gates", **PICTURE)

    question, chosen = [symbols, names], [names, case, length, symbols]
    answer, show_gates = _or_message(memory.answers, 0), _or_message(memory.gates, 1)
    task.input(choose, [task, length], chosen, **QUICK, api_name="choose")
    gr.on([symbols.change, names.change], answer, question, answers, **QUICK, api_name="answers")
    drawn = [another.click, case.input, length.input]
    gr.on(drawn, memory.random, [names, case, length], symbols, **QUICK, api_name="random")
    gates_button.click(show_gates, question, [gates, answers], **SLOW, api_name="gates")
    blocks.load(tasks, None, task, **PRIVATE).then(choose, [task, length], chosen, **PRIVATE)


def _or_message(answer: Callable[..., Any], outputs: int) -> Callable[..., Any]:
    """The same function, but an error empties its outputs and becomes the message, which is the last output."""

    @wraps(answer)
    def wrapper(*values: Any) -> Any:
        try:
            return answer(*values)
        except (UsageError, ValueError, OSError) as error:
            message = f"**{one_line(error)}**"
            return (*[None] * outputs, message) if outputs else message

    return wrapper
