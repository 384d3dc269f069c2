"""`scripts.tasks`: sequences that are typed or drawn, and what is asked about them."""

from typing import Any

import pytest
import torch

from datamodules import (
    FlipFlopDataModule,
    InductionDataModule,
    PalindromeDataModule,
    ParityDataModule,
    RecallDataModule,
    SequenceDataModule,
)
from scripts.tasks import ask, draw, parse
from twofold.errors import UsageError

TASKS = [
    PalindromeDataModule(6),
    PalindromeDataModule(6, target="second_half"),
    InductionDataModule(6, tokens=5),
    FlipFlopDataModule(6),
    RecallDataModule(8, pairs=2),
    ParityDataModule(6),
]


@pytest.mark.parametrize("task", TASKS, ids=lambda task: type(task).__name__)
def test_a_random_sequence_can_be_typed_and_has_an_answer(task: PalindromeDataModule | SequenceDataModule) -> None:
    for case in ("", *task.cases):
        question = ask(task, draw(task, 12, case, seed=3))
        again = ask(task, parse(task, question.text.replace(" ", "\n ")))
        assert again.text == question.text
        assert torch.equal(again.symbols, question.symbols)
        assert (question.targets[question.asked] >= 0).all()


def test_random_palindromes_may_be_of_a_worst_case() -> None:
    first, *rest, last = draw(PalindromeDataModule(6), 30, "alternating", seed=47).tolist()
    assert (first, rest[0], {*rest[:13:2]}, last) == (4, 7, {7}, 4)
    assert len({*rest[1:13:2]}) == 1


@pytest.mark.parametrize(
    ("task", "typed", "text"),
    [
        *((TASKS[0], typed, text) for typed, text in (("4079704", "4079704"), ("40", "4004"), ("7", "77"))),
        *((TASKS[1], typed, text) for typed, text in ((" 12 ", "1221"), ("12 21", "1221"))),
        *((TASKS[3], typed, "w 1 r 1") for typed in ("w1r1", "w 1 r 1", " w1  r1\n")),
        (InductionDataModule(6), "12 * 3 *", "12 * 3 *"),
    ],
)
def test_symbols_of_one_character_need_no_spaces(task: Any, typed: str, text: str) -> None:
    assert ask(task, parse(task, typed)).text == text


@pytest.mark.parametrize(
    ("task", "typed", "message"),
    [
        (TASKS[0], "-1", "symbol '-' isn't one of 0 1 2 3 4 5 6 7 8 9"),
        (TASKS[0], "٣", "symbol '٣' isn't one of 0 1"),
        (TASKS[0], "", "a sequence of 0 symbols; write 1 to 1,000 of 0 1"),
        (TASKS[0], "12" * 300, "a sequence of 1,200 symbols; write 1 to 1,000"),
        (TASKS[1], "1_", "symbol '_' isn't one of 0 1"),
        (TASKS[3], "w 1 x 0", "symbol 'x' isn't one of 0 1 w i r"),
        (TASKS[4], "k1v1", "symbol 'k1v1' isn't one of k0 k1"),
        (TASKS[5], " ", "a sequence of 0 symbols; write 1 to 1,000 of 0 1"),
        (TASKS[5], "1" * 1001, "a sequence of 1,001 symbols; write 1 to 1,000 of 0 1"),
    ],
)
def test_a_wrong_sequence_gets_one_line(task: Any, typed: str, message: str) -> None:
    with pytest.raises(UsageError, match=message.replace("(", r"\(")):
        parse(task, typed)


@pytest.mark.parametrize(
    ("task", "typed", "answers"),
    [
        (TASKS[2], "1 * 2 3 *", {4: "2"}),
        (TASKS[2], "* *", {}),
        (TASKS[3], "w 1 r 0 r", {2: "1", 4: "1"}),
    ],
)
def test_sequences_that_are_not_of_the_task_have_no_answer(task: Any, typed: str, answers: dict[int, str]) -> None:
    question = ask(task, parse(task, typed))
    steps = enumerate(question.targets.tolist())
    assert {step: question.name(target) for step, target in steps if target >= 0} == answers
    assert question.asked.tolist() == ([*answers] or [len(question.symbols) - 1])
