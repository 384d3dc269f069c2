"""Palindrome networks: their answers to a palindrome, and what their gates do while they read it."""

import io
import random
import threading
from collections.abc import Sequence
from pathlib import PurePath

import torch
from jaxtyping import Int
from PIL import Image
from torch import Tensor

from common.seeding import HIGHEST_SEED
from scripts.explorer.model_index import ModelIndex
from scripts.plot_gates import Model, inputs, plot, random_palindrome, to_palindrome, to_text, trace
from twofold.errors import UsageError

DPI = 80
HEADER = "| network | answer | right answer | correct | confidence |\n| --- | --- | --- | --- | --- |"

_plotting = threading.Lock()
"""Matplotlib isn't thread-safe."""


class MemoryExplorer:
    """Answers of the page's second tab.

    Args:
        index: where the networks are.
    """

    def __init__(self, index: ModelIndex) -> None:
        self.index = index

    def random(self, length: int) -> str:
        """Returns a new random palindrome."""
        return to_text(random_palindrome(length, random.SystemRandom().randint(0, HIGHEST_SEED)))

    def answers(self, digits: str, names: Sequence[str]) -> str:
        """Returns the palindrome and, in a Markdown table, the answer of each network.

        Raises:
            UsageError: when there is no network, or the digits make no palindrome.
        """
        palindrome = to_palindrome(digits)
        rows = [_row(name, model, palindrome) for name, model in self._models(names)]
        return "\n".join([f"Palindrome of {len(palindrome):,} digits: {to_text(palindrome)}\n", HEADER, *rows])

    def gates(self, digits: str, names: Sequence[str]) -> tuple[Image.Image, str]:
        """Returns the picture of `scripts.plot_gates`, a column for each network, and the answers.

        Raises:
            UsageError: as `answers` does, or when a network's memory overflows.
        """
        palindrome, file = to_palindrome(digits), io.BytesIO()
        traces = [trace(model, palindrome) for _, model in self._models(names)]
        with _plotting:
            plot(palindrome, traces).savefig(file, format="png", dpi=DPI)
        return Image.open(file), self.answers(digits, names)

    def _models(self, names: Sequence[str]) -> list[tuple[str, Model]]:
        if not names:
            raise UsageError(
                f"choose a network; if there is none under {self.index.root}, train one with "
                "twofold fit -c configs/palindrome_lstm.yaml and reload the page"
            )
        return [(name, self.index.palindrome_network(name)) for name in names]


@torch.no_grad()
def _row(name: str, model: Model, palindrome: Int[Tensor, " length"]) -> str:
    digits, blanks = inputs(model, palindrome)
    probabilities = model(digits[None], blanks).softmax(dim=-1).reshape(-1, 10)
    confidences, predictions = probabilities.max(dim=1)
    right = to_text(palindrome[-len(probabilities) :])
    pairs = list(zip(to_text(predictions), right, strict=True))
    answer = "".join(digit if digit == other else f"<mark>{digit}</mark>" for digit, other in pairs)
    correct = f"{sum(digit == other for digit, other in pairs)} of {len(right)}"
    confidence = f"{confidences.mean():.0%}"
    if not probabilities.isfinite().all():
        answer, correct, confidence = "the memory overflows; write fewer digits", "", ""
    return f"| {PurePath(name).parents[1]} | {answer} | {right} | {correct} | {confidence} |"
