"""Seeing the memory: what gates and cells do while a network reads one palindrome, as a picture; networks side by side.

    python -m scripts.plot_gates LSTM.ckpt RNN.ckpt --digits 4079704

Each network also reads the other nine sequences that differ from this one in nothing but the first digit. Where its
memory differs from the mean over the ten, it does so because of that digit. Whether the network can make out from that
which digit it was is another question: its answers tell.
"""

import sys
from argparse import Namespace
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
from datamodules import PalindromeDataModule
from lightning_modules import PalindromeLSTM, PalindromeRNN
from networks.lstm import LSTM
from twofold.errors import OneLineParser, UsageError, advised, exit_code

DEFAULT_LENGTH, DEFAULT_SEED = 20, 1
LONGEST = 10_000
INSTEAD = "write one of a palindrome network, such as runs/palindrome_lstm/RUN/checkpoints/best.ckpt"
TICKS, SPARSE_TICKS = 25, 10
"""Every step has a label while there are at most so many; beyond that, about so many have one."""
ROUNDING = 1e-7
"""Differences below this may be those of float32."""

GATES = {
    "f": "forget gate f: 1 keeps the cell as it is",
    "i": "input gate i: 1 lets the candidate in",
    "g": "candidate g: what to add to the cell",
    "o": "output gate o: 1 shows the cell",
}
NO_GATES = "no gates: every step makes all of h anew,\nh = φ(W_ih x + W_hh h + b)"
HEIGHTS = {"title": 0.35, **dict.fromkeys(GATES, 1.0), "memory": 1.2, "kept": 1.5, "spread": 0.8, "answers": 1.2}
"""The panels of a column from top to bottom, and their relative heights."""


class Reading(NamedTuple):
    """What one network does while it reads; units in the order of `kept` at the last step, the greatest first.

    Attributes:
        network: which one it is.
        symbols: what it reads; a dot is a blank.
        result: what it answered.
        gates: f, i, g and o of an LSTM; empty for an RNN.
        memory: c of an LSTM, h of an RNN.
        kept: how far the memory is from its mean over the ten first digits.
        spread: root mean square of `kept` over all units and all ten first digits.
        answers: the probability of each answer, if it were asked after this step.
    """

    network: str
    symbols: str
    result: str
    gates: dict[str, Float[Tensor, "steps hidden"]]
    memory: Float[Tensor, "steps hidden"]
    kept: Float[Tensor, "steps hidden"]
    spread: Float[Tensor, " steps"]
    answers: Float[Tensor, "steps 10"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the picture and prints its path; returns the exit code, 2 when something the user wrote is wrong."""
    return exit_code("plot_gates", _run, arguments)


def _run(arguments: list[str]) -> int:
    wanted = _parse(arguments)
    models = [load(path) for path in wanted.checkpoints]
    if wanted.digits is not None:
        palindrome = parse_palindrome(wanted.digits)
    else:
        length = default_length(models) if wanted.length is None else wanted.length
        palindrome = random_palindrome(length, DEFAULT_SEED if wanted.seed is None else wanted.seed)
    figure = draw(palindrome, [read(model, palindrome) for model in models])
    try:
        with replacing(wanted.out) as draft:
            figure.savefig(draft, format="png", dpi=130)
    except OSError as error:
        raise UsageError(f"can't write {wanted.out}: {error.strerror}") from error
    print(wanted.out)
    return 0


def load(path: Path) -> PalindromeLSTM | PalindromeRNN:
    """The network in a checkpoint.

    Raises:
        UsageError: when the file is anything but a sound checkpoint of one of the two.
    """
    try:
        match read_tensors(path):
            case {"hyper_parameters": {"horizon": _}}:
                return PalindromeLSTM.load_from_checkpoint(path)
            case {"hyper_parameters": {"nonlinearity": _}}:
                return PalindromeRNN.load_from_checkpoint(path)
    except ValueError as error:
        raise advised(error, INSTEAD) from error
    raise UsageError(f"{path} is not a checkpoint of a PalindromeLSTM or a PalindromeRNN; {INSTEAD}")


def parse_palindrome(text: str) -> Int[Tensor, " length"]:
    """The digits of a palindrome, all of them.

    Raises:
        UsageError: when it holds anything but the digits 0 to 9, isn't a palindrome, or is too short or too long.
    """
    others = [character for character in text if character not in "0123456789"]
    if others:
        raise UsageError(f"--digits holds '{others[0]}'; write digits from 0 to 9 and nothing between them")
    _refuse_length(len(text))
    if text != text[::-1]:
        raise UsageError(
            f"--digits {_abbreviated(text)} is not a palindrome; backwards it reads {_abbreviated(text[::-1])}"
        )
    return torch.tensor([int(digit) for digit in text])


def random_palindrome(length: int, seed: int) -> Int[Tensor, " length"]:
    """A palindrome that depends on length and seed alone.

    Raises:
        UsageError: when the length is below 2 or above `LONGEST`.
    """
    _refuse_length(length)
    data = PalindromeDataModule(length, batch_size=1)
    data.load_state_dict({"seed": seed})
    (digits, target), *_ = data.val_dataloader()
    return torch.cat([digits[0], target])


def default_length(models: Sequence[PalindromeLSTM | PalindromeRNN]) -> int:
    """The length that the first LSTM was made for, where one says so."""
    horizons = (model.horizon for model in models if isinstance(model, PalindromeLSTM) and model.horizon)
    return next(horizons, DEFAULT_LENGTH)


def question(
    model: PalindromeLSTM | PalindromeRNN, palindrome: Int[Tensor, " length"]
) -> tuple[Int[Tensor, " read"], int]:
    """The digits that the network is to read, and the blanks at which it is to write the others, 0 for the last one."""
    blanks = len(palindrome) // 2 if model.target == "second_half" else 0
    return palindrome[: -blanks or -1], blanks


@torch.no_grad()
def read(model: PalindromeLSTM | PalindromeRNN, palindrome: Int[Tensor, " length"]) -> Reading:
    """Hands the network all digits but the last, or the first half and then blanks, with each of the ten first digits.

    Either way the first digit is what it is to answer after the last step.

    Raises:
        UsageError: when its memory overflows.
    """
    first = int(palindrome[0])
    digits, blanks = question(model, palindrome)
    digits = digits.repeat(DIGITS, 1)
    digits[:, 0] = torch.arange(DIGITS)
    x = model.one_hot(digits, blanks)
    if isinstance(model.network, LSTM):
        name, all_gates = "LSTM", model.network.gates(x)
        memory, h = all_gates.c, all_gates.h
        gates = {gate: getattr(all_gates, gate) for gate in GATES}
    else:
        name, gates = "RNN", {}
        memory = h = model.network(x)[0]  # (steps, 10, hidden)

    if not memory.isfinite().all():
        raise UsageError(f"the {name}'s memory overflows within {len(x)} digits; write fewer")
    kept = memory - memory.mean(dim=1, keepdim=True)
    order = kept[-1, first].argsort(descending=True)
    logits = model.readout(h)  # (steps, 10, 10)
    answers = logits[-1].argmax(dim=1)
    verdict = "right" if answers[first] == first else f"but it was {first}"
    right = int((answers == torch.arange(DIGITS)).sum())
    return Reading(
        network=f"{name}, init {model.init}, hidden size {model.hidden_size}",
        symbols=written(palindrome[: len(digits[0])]) + "·" * blanks,
        result=f"answers {answers[first]}, {verdict}; names {right} of the ten first digits right",
        gates={gate: values[:, first, order] for gate, values in gates.items()},
        memory=memory[:, first, order],
        kept=kept[:, first, order],
        spread=kept.square().mean(dim=(1, 2)).sqrt(),
        answers=logits[:, first].softmax(dim=1),
    )


def draw(palindrome: Int[Tensor, " length"], readings: Sequence[Reading]) -> Figure:
    """A column for each reading; time goes to the right, and what can be compared stands side by side."""
    gates_shown = any(reading.gates for reading in readings)
    heights = {panel: height for panel, height in HEIGHTS.items() if gates_shown or panel not in GATES}
    figure = Figure(figsize=(7 * len(readings), 1.4 * sum(heights.values()) + 1), layout="constrained")
    figure.suptitle(f"palindrome {_abbreviated(written(palindrome))}, last answer {palindrome[0]}", fontsize=14)
    panels = figure.subplots(len(heights), len(readings), squeeze=False, height_ratios=list(heights.values()))
    spreads = torch.cat([reading.spread for reading in readings])
    for column, reading in zip(panels.T, readings, strict=True):
        axes = dict(zip(heights, column, strict=True))
        _draw_column(axes, reading, palindrome)
        axes["spread"].set_ylim(max(spreads.min().item() / 2, ROUNDING), max(spreads.max().item() * 2, 10 * ROUNDING))
    return figure


def _draw_column(axes: dict[str, Axes], reading: Reading, palindrome: Int[Tensor, " length"]) -> None:
    first, steps = int(palindrome[0]), len(reading.symbols)
    name = "cell c" if reading.gates else "hidden state h"
    axes["title"].axis("off")
    axes["title"].text(0.5, 0.75, reading.network, ha="center", fontsize=14, weight="bold")
    axes["title"].text(0.5, 0, reading.result, ha="center", fontsize=12)
    for gate in axes.keys() & GATES.keys():
        if reading.gates:
            _heat_map(axes[gate], reading.gates[gate], GATES[gate], limit=1, signed=gate == "g")
        else:
            axes[gate].axis("off")
    if "i" in axes and not reading.gates:
        axes["i"].text(0.5, 0, NO_GATES, ha="center", fontsize=12, color="grey")
    _heat_map(axes["memory"], reading.memory, name, signed=True)
    kept = f"{name}: the part due to the first digit, {first} (sorts the units)"
    _heat_map(axes["kept"], reading.kept, kept, signed=True)

    axes["spread"].semilogy(range(steps), reading.spread.numpy(), marker="." if steps <= TICKS else "")
    axes["spread"].set(xlim=(-0.5, steps - 0.5), xticks=[])
    axes["spread"].set_title(f"how far the ten first digits set {name} apart (RMS)")
    axes["spread"].grid(alpha=0.25)

    _heat_map(axes["answers"], reading.answers, "what it would answer if it were asked now", limit=1)
    axes["answers"].axhspan(first - 0.5, first + 0.5, fill=False, edgecolor="tab:red", linewidth=1.5)
    axes["answers"].set_yticks(range(DIGITS))
    axes["answers"].tick_params(axis="y", labelsize=8)
    axes["answers"].set_ylabel("answer")
    ticks = range(0, steps, 1 if steps <= TICKS else -(-steps // SPARSE_TICKS))
    axes["answers"].set_xticks(ticks, [f"{reading.symbols[t]}\n{t + 1}" for t in ticks])
    axes["answers"].get_xticklabels()[0].set(color="tab:red", weight="bold")
    axes["answers"].set_xlabel("the digit read, and its step")


def _heat_map(
    axis: Axes, values: Float[Tensor, "steps rows"], title: str, *, limit: float | None = None, signed: bool = False
) -> None:
    """Without a limit the colours end at the greatest value; signed ones are red above 0, white at 0, blue below."""
    limit = limit or values.abs().max().item() or 1.0
    colours: dict[str, Any] = {"cmap": "RdBu_r", "vmin": -limit} if signed else {"cmap": "viridis", "vmin": 0}
    image = axis.imshow(values.T.numpy(), aspect="auto", interpolation="nearest", vmax=limit, **colours)
    axis.figure.colorbar(image, ax=axis, pad=0.01)
    axis.set(xticks=[], yticks=[])
    axis.set_ylabel("units")
    axis.set_title(title)


def written(digits: Int[Tensor, " length"]) -> str:
    """The digits as text."""
    return "".join(map(str, digits.tolist()))


def _abbreviated(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:12]}…{text[-12:]} ({len(text):,} digits)"


def _refuse_length(length: int) -> None:
    if not 2 <= length <= LONGEST:
        raise UsageError(f"the palindrome's length is {length}; write 2 to {LONGEST:,}, with the digit to name")


def _parse(arguments: list[str]) -> Namespace:
    parser = OneLineParser(prog="python -m scripts.plot_gates", description=__doc__)
    parser.add_argument("checkpoints", nargs="+", type=Path, help="of an LSTM or RNN, such as runs/…/best.ckpt")
    parser.add_argument("--digits", help="the whole palindrome, such as 4079704")
    parser.add_argument(
        "--length", type=int, help=f"of a random palindrome, by default the LSTM's horizon, or {DEFAULT_LENGTH}"
    )
    parser.add_argument("--seed", type=int, help=f"of the random palindrome, by default {DEFAULT_SEED}")
    parser.add_argument("--out", type=Path, default=Path("gates.png"), help="where to write, by default gates.png")
    wanted = parser.parse_args(arguments)
    if wanted.digits is not None and (wanted.length, wanted.seed) != (None, None):
        raise UsageError("--digits says which palindrome; leave out --length and --seed, which are for a random one")
    if wanted.out.suffix.lower() != ".png":
        raise UsageError(f"--out {wanted.out} names no PNG; write a name that ends in .png")
    return wanted


if __name__ == "__main__":
    sys.exit(main())
