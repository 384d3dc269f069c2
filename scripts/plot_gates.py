"""Plots what gates and cells do while networks read one sequence, a column for each network.

    python -m scripts.plot_gates LSTM.ckpt RNN.ckpt --symbols 4079704
    python -m scripts.plot_gates runs/flip_flop/RUN/checkpoints/best.ckpt --symbols "w 1 i 0 r 1"

The gates of an LSTM are plotted; of other networks the hidden state. With a palindrome each network also reads the nine
sequences that differ from it in the first digit only. The difference between its memory and the mean over all ten is
due to that digit. Whether the network can recover the digit from it is another question, which its answers show.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from common.files import replacing
from common.palindrome import DIGITS
from common.targets import UNASKED
from lightning_modules.batches import one_hot
from networks.lstm import LSTM
from scripts.arguments import file_name, user_module, whole_number
from scripts.tasks import Model, Question, ask, common_task, describe, draw, load, parse
from twofold.errors import OneLineParser, UsageError, exit_code

MAX_TICKS = 25
"""Up to this many steps each one has a label; a longer sequence has about ten labels."""
GATES = {
    "f": "forget gate f: 1 keeps the cell",
    "i": "input gate i: 1 adds the candidate",
    "g": "candidate g: what is added to the cell",
    "o": "output gate o: 1 shows the cell",
}
HEIGHTS = {"title": 0.35, **dict.fromkeys(GATES, 1.0), "memory": 1.2, "deviation": 1.5, "answers": 1.2}
"""The panels of a column from top to bottom, and their relative heights."""


class Trace(NamedTuple):
    """What a network computes while it reads a sequence; units sorted by their `deviation` after the last step.

    Attributes:
        network: its kind and arguments.
        result: how many answers are right.
        gates: f, i, g and o of an LSTM; empty for others.
        memory: c of an LSTM, h of others.
        deviation: the memory minus its mean over the ten first digits of a palindrome; 0 for other sequences.
        answers: the probability of each answer, if the network were asked after this step.
    """

    network: str
    result: str
    gates: dict[str, Float[Tensor, "steps hidden"]]
    memory: Float[Tensor, "steps hidden"]
    deviation: Float[Tensor, "steps hidden"]
    answers: Float[Tensor, "steps symbols"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the picture and prints its path; returns the exit code, 2 for a mistake in the arguments."""
    return exit_code("plot_gates", _run, arguments)


def _run(arguments: list[str]) -> int:
    parser = OneLineParser(prog="python -m scripts.plot_gates", description=__doc__)
    help_text = "of palindrome networks or SequenceModels, such as runs/…/best.ckpt"
    parser.add_argument("checkpoints", nargs="+", type=Path, help=help_text)
    read = parser.add_mutually_exclusive_group()
    read.add_argument("--symbols", "--digits", help="the sequence, or the first half of a palindrome; default random")
    read.add_argument("--length", type=whole_number(2), help="of the random sequence, by default as trained")
    parser.add_argument("--out", type=file_name(".png"), default=Path("gates.png"), help="by default gates.png")
    parser.add_argument("--import", type=user_module, help="the module of your own task or network, such as mine")
    options = parser.parse_args(arguments)

    opened = [load(path) for path in options.checkpoints]
    task = common_task(options.checkpoints, opened)
    typed = options.symbols is not None
    symbols = parse(task, options.symbols) if typed else draw(task, options.length or task.length, "", seed=1)
    question = ask(task, symbols)
    figure = plot(question, [trace(model, question) for model, _ in opened])
    with replacing(options.out) as draft:
        figure.savefig(draft, format="png", dpi=130)
    print(options.out)
    return 0


@torch.no_grad()
def trace(model: Model, question: Question) -> Trace:
    """Runs the network on the sequence, on a palindrome with each of the ten first digits.

    Raises:
        UsageError: when the network's memory overflows.
    """
    network, symbols, row = model.network, question.symbols[:, None], 0
    if question.palindrome:
        row, symbols = int(symbols[0]), symbols.repeat(1, DIGITS)
        symbols[0] = torch.arange(DIGITS)
    x, gates = one_hot(model, symbols), {}
    if isinstance(network, LSTM):
        computed = network.gates(x)
        memory, h, gates = computed.c, computed.h, {gate: getattr(computed, gate) for gate in GATES}
    else:
        memory = h = network(x, None)[0]  # (steps, rows, hidden)
    if not memory.isfinite().all():
        raise UsageError(f"the {type(network).__name__}'s memory overflows within {len(x)} steps; write fewer")

    deviation = memory - memory.mean(dim=1, keepdim=True)
    order = deviation[-1, row].argsort(descending=True, stable=True)
    logits = model.readout(h)  # (steps, rows, symbols)
    answers, targets = logits.argmax(dim=2), question.targets[question.asked]
    right = int((answers[question.asked, row] == targets).sum())
    result = "no answer is right" if UNASKED in targets else f"{right} of {len(targets)} answers right"
    return Trace(
        network=describe(network),
        result=result,
        gates={gate: values[:, row, order] for gate, values in gates.items()},
        memory=memory[:, row, order],
        deviation=deviation[:, row, order],
        answers=logits[:, row].softmax(dim=1),
    )


def plot(question: Question, traces: Sequence[Trace]) -> Figure:
    """Plots a column for each trace; time runs to the right, and panels in one row can be compared."""
    missing = {*GATES} if not any(trace.gates for trace in traces) else set()
    if not question.palindrome:
        missing.add("deviation")
    heights = {panel: height for panel, height in HEIGHTS.items() if panel not in missing}
    figure = Figure(figsize=(7 * len(traces), 1.4 * sum(heights.values()) + 1), layout="constrained")
    figure.suptitle(f"{question.title}: {_shortened(question.text)}", fontsize=14)
    panels = figure.subplots(len(heights), len(traces), squeeze=False, height_ratios=list(heights.values()))
    for column, trace in zip(panels.T, traces, strict=True):
        _plot_column(dict(zip(heights, column, strict=True)), trace, question)
    return figure


def _plot_column(axes: dict[str, Axes], trace: Trace, question: Question) -> None:
    steps = len(question.symbols)
    memory = "cell c" if trace.gates else "hidden state h"
    axes["title"].axis("off")
    axes["title"].text(0.5, 0.75, trace.network, ha="center", fontsize=14, weight="bold")
    axes["title"].text(0.5, 0, trace.result, ha="center", fontsize=12)
    for gate in axes.keys() & GATES.keys():
        if trace.gates:
            _heat_map(axes[gate], trace.gates[gate], GATES[gate], limit=1, signed=gate == "g")
        else:
            axes[gate].axis("off")
    _heat_map(axes["memory"], trace.memory, memory, signed=True)
    if question.palindrome:
        title = f"{memory}: the part due to the first digit, {question.text[0]} (units sorted by it)"
        _heat_map(axes["deviation"], trace.deviation, title, signed=True)

    _heat_map(axes["answers"], trace.answers, "probability of each answer, if asked after this step", limit=1)
    rows = range(trace.answers.shape[1])
    names = [question.name(symbol) for symbol in rows]
    axes["answers"].set_yticks(rows, names, fontsize=8 if len(rows) <= 12 else 5)
    axes["answers"].set(ylabel="answer", xlabel="the symbol read, and its step")
    ticks = range(0, steps, 1 if steps <= MAX_TICKS else -(-steps // 10))
    read = [f"{question.name(int(question.symbols[t]))}\n{t + 1}" for t in ticks]
    axes["answers"].set_xticks(ticks, read, fontsize=8)
    if UNASKED not in (right := question.targets[question.asked]):
        axes["answers"].scatter(question.asked, right, s=30, marker="s", facecolors="none", edgecolors="tab:red")


def _heat_map(
    axis: Axes, values: Float[Tensor, "steps rows"], title: str, *, limit: float | None = None, signed: bool = False
) -> None:
    """The colours end at `limit`, by default the largest value; signed values are red above 0 and blue below."""
    limit = limit or values.abs().max().item() or 1.0
    colours: dict[str, Any] = {"cmap": "RdBu_r", "vmin": -limit} if signed else {"cmap": "viridis", "vmin": 0}
    image = axis.imshow(values.T.numpy(), aspect="auto", interpolation="nearest", vmax=limit, **colours)
    axis.figure.colorbar(image, ax=axis, pad=0.01)
    axis.set(xticks=[], yticks=[], ylabel="units", title=title)


def _shortened(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:12]}…{text[-12:]}"


if __name__ == "__main__":
    sys.exit(main())
