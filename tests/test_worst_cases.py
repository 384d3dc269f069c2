"""Worst cases of the last digit: which are tested, and the adversary. Their palindromes: tests/test_chunks.py."""

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from datamodules import PalindromeDataModule
from datamodules.palindromes.worst_cases import CASES, RANDOM_BELOW
from metrics.adversary import greedy_adversary


@pytest.mark.parametrize("batch_size", [33, 64, 99, 128])
def test_all_cases_are_tested_at_each_length(batch_size: int) -> None:
    chunks: Any = PalindromeDataModule(5, batch_size, test_lengths=[9, 1000, 1001]).test_dataloader()
    cases: dict[Any, list[int]] = {}
    for chunk in chunks:
        cases.setdefault((chunk.length, chunk.case), []).append(len(chunk.target))
    adversaries = {9: ["adversary"], 1000: ["adversary"], 1001: []}
    assert list(cases) == [(length, case) for length, more in adversaries.items() for case in ["", *CASES, *more]]
    for (_, case), sizes in cases.items():
        assert sum(sizes) == (100 if case else 1000)
        assert max(sizes) <= batch_size
        assert not case or min(sizes) == max(sizes)  # so that several processes can share each batch


def test_digits_of_random_cases_have_their_frequencies() -> None:
    random = np.arange(RANDOM_BELOW)[None]
    frequencies = {"two_digits": (90, 90, 0), "first_absent": (0, 20, 20), "mostly_one": (1, 171, 1)}
    for case, (of_first, of_other, of_a_third) in frequencies.items():
        digits = CASES[case](np.array([[4]]), np.array([[7]]), random, random[0])
        expected = [of_first if digit == 4 else of_other if digit == 7 else of_a_third for digit in range(10)]
        assert np.bincount(digits[0], minlength=10).tolist() == expected


def by_counting(digits: Tensor, counts: Any, added: int = 0) -> tuple[Tensor, Any]:
    """A network that answers with the digit that it read most often, where the first one counts 100 times."""
    weight = torch.ones(digits.shape)
    if counts is None:
        weight[:, 0] = 100
    read = (F.one_hot(digits, 10) * weight[..., None]).sum(dim=1)
    (before,) = (torch.zeros(1, *read.shape),) if counts is None else counts
    return (before + read)[0] + added, (before + read,)


def by_latch(digits: Tensor, first: Tensor | None) -> tuple[Tensor, Tensor]:
    """A network that keeps the first digit."""
    first = digits[None, :, 0] if first is None else first
    return F.one_hot(first[0], 10).float(), first


def right_answers(network: Any, digits: Tensor, length: int) -> int:
    return int((greedy_adversary(network, digits, length).argmax(dim=1) == digits[:, 0]).sum())


def test_an_adversary_beats_what_random_digits_do_not() -> None:
    digits = torch.cartesian_prod(torch.arange(10), torch.arange(10))
    random = torch.cat([digits, torch.randint(10, (100, 298))], dim=1)
    assert torch.equal(by_counting(random, None)[0].argmax(dim=1), digits[:, 0])
    assert right_answers(by_counting, digits, 300) == 0
    assert right_answers(by_counting, digits, 90) == 100
    assert right_answers(by_latch, digits, 300) == 100


def test_an_adversary_picks_the_same_whatever_is_added_to_all_logits() -> None:
    digits = torch.tensor([[4, 7], [0, 9]])
    counts = greedy_adversary(by_counting, digits, 9)
    assert counts.nonzero().tolist() == [[0, 4], [0, 7], [1, 0], [1, 9]]  # more of the second digit
    assert torch.equal(greedy_adversary(partial(by_counting, added=-1000), digits, 9), counts - 1000)


@pytest.mark.parametrize("given", [1, 2, 5])
def test_an_adversary_reads_up_to_the_length(given: int) -> None:
    digits = torch.randint(10, (3, given))
    read = greedy_adversary(by_counting, digits, 5).sum(dim=1)
    assert read.tolist() == [104] * 3


def test_an_adversary_needs_a_state() -> None:
    with pytest.raises(ValueError, match="the network returns no state"):
        greedy_adversary(lambda digits, state: (torch.zeros(len(digits), 10), None), torch.zeros(2, 1).long(), 3)
