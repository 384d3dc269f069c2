"""Networks with memory: their answers to a sequence, and what their gates do while they read it."""

import io
import random
import threading
from collections.abc import Sequence
from pathlib import PurePath

import torch
from PIL import Image

from common.seeding import HIGHEST_SEED
from common.targets import UNASKED
from lightning_modules.batches import one_hot
from scripts.explorer.model_index import ModelIndex
from scripts.plot_gates import plot, trace
from scripts.tasks import Model, Question, Task, ask, common_task, draw, parse
from twofold.errors import UsageError

DPI = 80
HEADER = "| network | answer | right answer | correct | confidence |\n| --- | --- | --- | --- | --- |"
NONE_RIGHT = "none; asked at the last step"

_plotting = threading.Lock()
"""Matplotlib isn't thread-safe."""


class MemoryExplorer:
    """Answers of the page's second tab.

    Args:
        index: where the networks are.
    """

    def __init__(self, index: ModelIndex) -> None:
        self.index = index

    def random(self, names: Sequence[str], case: str, length: int) -> str:
        """Returns a new random sequence of the networks' task, as in training or, if it is named, of a worst case.

        Raises:
            UsageError: when there is no network, they have several tasks, or the task has no sequence of this length.
        """
        _, task = self._open(names)
        seed = random.SystemRandom().randint(0, HIGHEST_SEED)
        return ask(task, draw(task, length, case if case in task.cases else "", seed)).text

    def answers(self, text: str, names: Sequence[str]) -> str:
        """Returns the sequence and, in a Markdown table, the answers of each network.

        Raises:
            UsageError: when there is no network, or the text isn't a sequence of the task of all.
        """
        models, task = self._open(names)
        return _table(ask(task, parse(task, text)), names, models)

    def gates(self, text: str, names: Sequence[str]) -> tuple[Image.Image, str]:
        """Returns the picture of `scripts.plot_gates`, a column for each network, and the answers.

        Raises:
            UsageError: as `answers` does, or when a network's memory overflows.
        """
        models, task = self._open(names)
        question, file = ask(task, parse(task, text)), io.BytesIO()
        traces = [trace(model, question) for model in models]
        with _plotting:
            plot(question, traces).savefig(file, format="png", dpi=DPI)
        return Image.open(file), _table(question, names, models)

    def _open(self, names: Sequence[str]) -> tuple[list[Model], Task]:
        if not names:
            raise UsageError(
                f"choose a network; if there is none under {self.index.root}, train one with "
                "twofold fit -c palindrome_lstm and reload the page"
            )
        opened = [self.index.network(name) for name in names]
        return [model for model, _ in opened], common_task(names, opened)


def _table(question: Question, names: Sequence[str], models: Sequence[Model]) -> str:
    rows = [_row(name, model, question) for name, model in zip(names, models, strict=True)]
    return "\n".join([f"{question.title}: {question.text}\n", HEADER, *rows])


@torch.no_grad()
def _row(name: str, model: Model, question: Question) -> str:
    h = model.network(one_hot(model, question.symbols[:, None]), None)[0][question.asked, 0]
    probabilities = model.readout(h).softmax(dim=1)
    confidences, predictions = probabilities.max(dim=1)
    separator = "" if question.palindrome else " "
    pairs = list(zip(predictions.tolist(), question.targets[question.asked].tolist(), strict=True))
    words = [(question.name(symbol), target in (symbol, UNASKED)) for symbol, target in pairs]
    answer = separator.join([word if right else f"<mark>{word}</mark>" for word, right in words])
    right, correct = NONE_RIGHT, ""
    if UNASKED not in question.targets[question.asked]:
        right = separator.join([question.name(target) for _, target in pairs])
        correct = f"{sum(right for _, right in words)} of {len(words)}"
    confidence = f"{confidences.mean():.0%}"
    if not probabilities.isfinite().all():
        answer, correct, confidence = "the memory overflows; write fewer symbols", "", ""
    return f"| {PurePath(name).parents[1]} | {answer} | {right} | {correct} | {confidence} |"
