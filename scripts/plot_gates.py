"""Plots what gates and cells do while networks read one palindrome, a column for each network.

    python -m scripts.plot_gates LSTM.ckpt RNN.ckpt --digits 4079704

Each network also reads the nine sequences that differ from this one in the first digit only. The difference between
its memory and the mean over all ten is due to that digit. Whether the network can recover the digit from it is another
question, which its answers show.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from common.files import read_tensors, replacing
from common.palindrome import DIGITS
from common.seeding import rng
from lightning_modules import PalindromeLSTM, PalindromeRNN
from networks.lstm import LSTM
from scripts.arguments import file_name, whole_number
from twofold.errors import OneLineParser, UsageError, advised, exit_code

DEFAULT_LENGTH = 20
"""Digits of the random palindrome, where no network says for which length it was made."""
MAX_TYPED = 1000
"""The most digits of a palindrome that is typed."""
INSTEAD = "write one of a palindrome network, such as runs/palindrome_lstm/RUN/checkpoints/best.ckpt"
MAX_TICKS = 25
"""Up to this many steps each one has a label; a longer sequence has about ten labels."""
RESOLUTION = 1e-7
"""The lower end of the spread's axis; smaller differences may be rounding errors of float32."""

GATES = {
    "f": "forget gate f: 1 keeps the cell",
    "i": "input gate i: 1 adds the candidate",
    "g": "candidate g: what is added to the cell",
    "o": "output gate o: 1 shows the cell",
}
NO_GATES = "no gates: every step computes all of h anew,\nh = φ(W_ih x + W_hh h + b)"
HEIGHTS = {"title": 0.35, **dict.fromkeys(GATES, 1.0), "memory": 1.2, "deviation": 1.5, "spread": 0.8, "answers": 1.2}
"""The panels of a column from top to bottom, and their relative heights."""

Model = PalindromeLSTM | PalindromeRNN


class Trace(NamedTuple):
    """What a network computes while it reads a palindrome; units sorted by their `deviation` after the last step.

    Attributes:
        network: its kind, initialisation and size.
        symbols: the digits it reads, and a dot for each blank.
        result: its answer, and how many of the ten first digits it recalls.
        gates: f, i, g and o of an LSTM; empty for an RNN.
        memory: c of an LSTM, h of an RNN.
        deviation: the memory minus its mean over the ten first digits.
        spread: root mean square of the deviation over all units and all ten first digits.
        answers: the probability of each answer, if the network were asked after this step.
    """

    network: str
    symbols: str
    result: str
    gates: dict[str, Float[Tensor, "steps hidden"]]
    memory: Float[Tensor, "steps hidden"]
    deviation: Float[Tensor, "steps hidden"]
    spread: Float[Tensor, " steps"]
    answers: Float[Tensor, "steps 10"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the picture and prints its path; returns the exit code, 2 for a mistake in the arguments."""
    return exit_code("plot_gates", _run, arguments)


def _run(arguments: list[str]) -> int:
    parser = OneLineParser(prog="python -m scripts.plot_gates", description=__doc__)
    parser.add_argument("checkpoints", nargs="+", type=Path, help="of an LSTM or RNN, such as runs/…/best.ckpt")
    read = parser.add_mutually_exclusive_group()
    read.add_argument("--digits", type=to_palindrome, help="the palindrome, or its first half; by default random")
    read.add_argument("--length", type=whole_number(2), help="of the random palindrome, by default as trained")
    parser.add_argument("--out", type=file_name(".png"), default=Path("gates.png"), help="by default gates.png")
    options = parser.parse_args(arguments)

    models = [load(path) for path in options.checkpoints]
    palindrome = options.digits
    if palindrome is None:
        palindrome = random_palindrome(options.length or trained_length(models), seed=1)
    figure = plot(palindrome, [trace(model, palindrome) for model in models])
    with replacing(options.out) as draft:
        figure.savefig(draft, format="png", dpi=130)
    print(options.out)
    return 0


def load(path: Path) -> Model:
    """Returns the network in a checkpoint, on the CPU and in eval mode.

    Raises:
        UsageError: when the file isn't a checkpoint of a `PalindromeLSTM` or a `PalindromeRNN`.
    """
    modules: dict[str, type[Model]] = {"PalindromeLSTM": PalindromeLSTM, "PalindromeRNN": PalindromeRNN}
    try:
        match read_tensors(path):
            case {"module": str(name)} if name in modules:
                return modules[name].load_from_checkpoint(path).eval()
    except ValueError as error:
        raise advised(error, INSTEAD) from error
    raise UsageError(f"{path} is not a checkpoint of a PalindromeLSTM or a PalindromeRNN; {INSTEAD}")


def trained_length(models: Sequence[Model]) -> int:
    """Returns the length that the first LSTM with a horizon was trained for, or else `DEFAULT_LENGTH`."""
    lengths = [model.horizon for model in models if isinstance(model, PalindromeLSTM) and model.horizon]
    return lengths[0] if lengths else DEFAULT_LENGTH


def random_palindrome(length: int, seed: int) -> Int[Tensor, " length"]:
    """Returns a palindrome of at least two digits; the same length and seed give the same one."""
    half = torch.randint(DIGITS, ((length + 1) // 2,), generator=rng(seed, "palindrome"))
    return torch.cat([half, half[: length // 2].flip(0)])


def inputs(model: Model, palindrome: Int[Tensor, " length"]) -> tuple[Int[Tensor, " read"], int]:
    """Returns the digits the network reads, and the number of blanks at which it writes the others.

    A network that answers with the last digit reads all the others and no blanks.
    """
    blanks = len(palindrome) // 2 if model.target == "second_half" else 0
    return palindrome[: -blanks or -1], blanks


@torch.no_grad()
def trace(model: Model, palindrome: Int[Tensor, " length"]) -> Trace:
    """Runs the network on the palindrome with each of the ten first digits.

    The first digit is the right answer after the last step, also for a network that writes the second half.

    Raises:
        UsageError: when the network's memory overflows.
    """
    first = int(palindrome[0])
    digits, blanks = inputs(model, palindrome)
    digits = digits.repeat(DIGITS, 1)
    digits[:, 0] = torch.arange(DIGITS)
    x = model.one_hot(digits, blanks)
    if isinstance(model.network, LSTM):
        kind, computed = "LSTM", model.network.gates(x)
        memory, h, gates = computed.c, computed.h, {gate: getattr(computed, gate) for gate in GATES}
    else:
        kind, gates = "RNN", {}
        memory = h = model.network(x)[0]  # (steps, 10, hidden)
    if not memory.isfinite().all():
        raise UsageError(f"the {kind}'s memory overflows within {len(x)} digits; write fewer")

    deviation = memory - memory.mean(dim=1, keepdim=True)
    order = deviation[-1, first].argsort(descending=True)
    logits = model.readout(h)  # (steps, 10, 10)
    answers = logits[-1].argmax(dim=1)
    comparison = "right" if answers[first] == first else f"wrong, it was {first}"
    recalled = int((answers == torch.arange(DIGITS)).sum())
    return Trace(
        network=f"{kind}, init {model.init}, hidden size {model.hidden_size}",
        symbols=to_text(palindrome[: len(digits[0])]) + "·" * blanks,
        result=f"answers {answers[first]}: {comparison}; recalls {recalled} of the ten first digits",
        gates={gate: values[:, first, order] for gate, values in gates.items()},
        memory=memory[:, first, order],
        deviation=deviation[:, first, order],
        spread=deviation.square().mean(dim=(1, 2)).sqrt(),
        answers=logits[:, first].softmax(dim=1),
    )


def plot(palindrome: Int[Tensor, " length"], traces: Sequence[Trace]) -> Figure:
    """Plots a column for each trace; time runs to the right, and panels in one row can be compared."""
    heights = {panel: height for panel, height in HEIGHTS.items() if panel not in GATES or any(t.gates for t in traces)}
    figure = Figure(figsize=(7 * len(traces), 1.4 * sum(heights.values()) + 1), layout="constrained")
    figure.suptitle(f"palindrome {_shortened(to_text(palindrome))}, last answer {palindrome[0]}", fontsize=14)
    panels = figure.subplots(len(heights), len(traces), squeeze=False, height_ratios=list(heights.values()))
    spreads = torch.cat([trace.spread for trace in traces]).clamp(min=RESOLUTION)
    for column, trace in zip(panels.T, traces, strict=True):
        axes = dict(zip(heights, column, strict=True))
        _plot_column(axes, trace, int(palindrome[0]))
        axes["spread"].set_ylim(spreads.min().item() / 2, spreads.max().item() * 2)
    return figure


def _plot_column(axes: dict[str, Axes], trace: Trace, first: int) -> None:
    steps, memory = len(trace.symbols), "cell c" if trace.gates else "hidden state h"
    axes["title"].axis("off")
    axes["title"].text(0.5, 0.75, trace.network, ha="center", fontsize=14, weight="bold")
    axes["title"].text(0.5, 0, trace.result, ha="center", fontsize=12)
    for gate in axes.keys() & GATES.keys():
        if trace.gates:
            _heat_map(axes[gate], trace.gates[gate], GATES[gate], limit=1, signed=gate == "g")
        else:
            axes[gate].axis("off")
    if "i" in axes and not trace.gates:
        axes["i"].text(0.5, 0, NO_GATES, ha="center", fontsize=12, color="grey")
    _heat_map(axes["memory"], trace.memory, memory, signed=True)
    title = f"{memory}: the part due to the first digit, {first} (units sorted by it)"
    _heat_map(axes["deviation"], trace.deviation, title, signed=True)

    axes["spread"].semilogy(range(steps), trace.spread.numpy(), marker="." if steps <= MAX_TICKS else "")
    axes["spread"].set(xlim=(-0.5, steps - 0.5), xticks=[], title=f"spread of {memory} over the ten first digits (RMS)")
    axes["spread"].grid(alpha=0.25)

    _heat_map(axes["answers"], trace.answers, "probability of each answer, if asked after this step", limit=1)
    axes["answers"].axhspan(first - 0.5, first + 0.5, fill=False, edgecolor="tab:red", linewidth=1.5)
    axes["answers"].set(yticks=range(DIGITS), ylabel="answer", xlabel="the digit read, and its step")
    axes["answers"].tick_params(axis="y", labelsize=8)
    ticks = range(0, steps, 1 if steps <= MAX_TICKS else -(-steps // 10))
    axes["answers"].set_xticks(ticks, [f"{trace.symbols[t]}\n{t + 1}" for t in ticks])
    axes["answers"].get_xticklabels()[0].set(color="tab:red", weight="bold")


def _heat_map(
    axis: Axes, values: Float[Tensor, "steps rows"], title: str, *, limit: float | None = None, signed: bool = False
) -> None:
    """The colours end at `limit`, by default the largest value; signed values are red above 0 and blue below."""
    limit = limit or values.abs().max().item() or 1.0
    colours: dict[str, Any] = {"cmap": "RdBu_r", "vmin": -limit} if signed else {"cmap": "viridis", "vmin": 0}
    image = axis.imshow(values.T.numpy(), aspect="auto", interpolation="nearest", vmax=limit, **colours)
    axis.figure.colorbar(image, ax=axis, pad=0.01)
    axis.set(xticks=[], yticks=[], ylabel="units", title=title)


def to_palindrome(text: str) -> Int[Tensor, " length"]:
    """Returns the palindrome that was typed, or what was typed followed by its mirror image.

    Raises:
        UsageError: when there is anything but digits, none, or too many.
    """
    digits = text.strip()
    if len(digits) < 2 or digits != digits[::-1]:
        digits += digits[::-1]
    if not set(digits) <= set("0123456789") or not 2 <= len(digits) <= MAX_TYPED:
        limits = f"up to {MAX_TYPED:,} digits, or up to {MAX_TYPED // 2} digits to be mirrored"
        raise UsageError(f"write a palindrome of {limits}, with nothing between them")
    return torch.tensor([int(digit) for digit in digits])


def to_text(digits: Int[Tensor, " length"]) -> str:
    """Returns the digits as text, such as "4079704"."""
    return "".join(map(str, digits.tolist()))


def _shortened(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:12]}…{text[-12:]} ({len(text):,} digits)"


if __name__ == "__main__":
    sys.exit(main())
