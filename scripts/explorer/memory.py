"""What the page shows of a memory: what networks answer to a palindrome, and what their gates do meanwhile."""

import io
import random
import threading
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from common.seeding import HIGHEST_SEED
from lightning_modules import PalindromeLSTM, PalindromeRNN
from scripts.explorer import html, inputs
from scripts.explorer.model_index import Shelf
from scripts.plot_gates import draw, question, random_palindrome, read, written
from twofold.errors import UsageError

LONGEST = 1000
"""Digits of a palindrome on the page; `scripts.plot_gates` draws longer ones."""
DPI = 80

Network = PalindromeLSTM | PalindromeRNN


class Answer(NamedTuple):
    """What a network said, what would have been right, and how sure it was of each digit it said."""

    said: str
    right: str
    sureness: list[float]


class Memory:
    """Answers of the page's second tab, each as HTML.

    Args:
        shelf: where the networks are.
    """

    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf

    def random(self, length: object) -> str:
        """A new random palindrome of this length."""
        wanted = inputs.whole_number(length, "length", 2, LONGEST)
        return written(random_palindrome(wanted, random.SystemRandom().randint(0, HIGHEST_SEED)))

    def answers(self, digits: object, *names: object) -> str:
        """What each of the named networks answers; None and "" name none."""
        palindrome = completed(digits)
        cards = "".join(_card(name, model, palindrome) for name, model in self._chosen(names))
        shown = html.digits(written(palindrome), written(palindrome), "digits long")
        return f'<p>The palindrome of {len(palindrome):,} digits: {shown}</p><div class="cards">{cards}</div>'

    def gates(self, digits: object, *names: object) -> str:
        """What each of the named networks does while it reads, as heat maps."""
        palindrome = completed(digits)
        drawn = []
        for name, model in self._chosen(names):
            with _drawing:
                figure, file = draw(palindrome, [read(model, palindrome)]), io.BytesIO()
                figure.savefig(file, format="png", dpi=DPI)
            picture = html.image(file.getvalue(), f"what {name} does while it reads", "picture")
            link = html.download(file.getvalue(), "gates.png", "Download the picture")
            drawn.append(f"<figure>{picture}{link}</figure>")
        return f'<div class="heat-maps">{"".join(drawn)}</div>'

    def _chosen(self, names: Sequence[object]) -> list[tuple[str, Network]]:
        chosen = [(str(name), self.shelf.memory(name)) for name in names if name not in (None, "")]
        if not chosen:
            raise UsageError("choose a network to ask")
        return chosen


def completed(text: object) -> Int[Tensor, " length"]:
    """The palindrome that was typed, or the one that begins with what was typed and goes on with its mirror image.

    Raises:
        UsageError: when there is anything but digits, none, or too many.
    """
    digits = inputs.text(text, "digits", LONGEST)
    others = [character for character in digits if character not in "0123456789"]
    if others:
        raise UsageError(f"digits: there is a '{others[0]}'; write digits from 0 to 9 and nothing between them")
    if len(digits) < 2 or digits != digits[::-1]:
        digits += digits[::-1]
    if not 2 <= len(digits) <= LONGEST:
        raise UsageError(
            f"digits: they make a palindrome of {len(digits):,} digits; write at least 1, and no more than "
            f"{LONGEST // 2}, which are mirrored, or a whole palindrome of up to {LONGEST:,}"
        )
    return torch.tensor([int(digit) for digit in digits])


@torch.no_grad()
def answer(model: Network, palindrome: Int[Tensor, " length"]) -> Answer:
    """What the network answers once it has read all digits but the last, or the first half.

    Raises:
        UsageError: when its memory overflows.
    """
    digits, blanks = question(model, palindrome)
    probabilities: Float[Tensor, "answers 10"] = model(digits[None], blanks).softmax(dim=-1).reshape(-1, 10)
    if not probabilities.isfinite().all():
        raise UsageError(f"the network's memory overflows within {len(digits)} digits; write fewer")
    sureness, said = probabilities.max(dim=1)
    return Answer(written(said), written(palindrome[-len(said) :]), sureness.tolist())


_drawing = threading.Lock()
"""Matplotlib draws one picture at a time."""


def _card(name: str, model: Network, palindrome: Int[Tensor, " length"]) -> str:
    kind = "LSTM" if isinstance(model, PalindromeLSTM) else "RNN"
    writes = model.target == "second_half"
    title = f"The {kind} {'writes the second half' if writes else 'names the last digit'}"
    network = f"{name}: init {model.init}, hidden size {model.hidden_size}"
    if isinstance(model, PalindromeLSTM) and model.horizon:
        network += f", for {model.horizon:,} digits"
    facts = f"<p class='small'>{escape(network)}</p>"
    try:
        said, right, sureness = answer(model, palindrome)
    except UsageError as error:
        return f'<section class="card wrong"><h3>{title}</h3>{html.note(str(error))}{facts}</section>'
    hits = sum(one == other for one, other in zip(said, right, strict=True))
    if writes:
        verdict = f"{hits} of {len(said)} digits right"
    else:
        verdict = f"{'right' if hits else 'wrong'}, {sureness[0]:.0%} sure{'' if hits else f'; it was {right}'}"
    mood = "right" if hits == len(said) else "wrong"
    written_down = html.digits(said, right, "digits long" if writes else "digits answer")
    return f'<section class="card {mood}"><h3>{title}</h3>{written_down}<p>{verdict}</p>{facts}</section>'
