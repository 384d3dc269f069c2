"""Worst cases of the last digit: which are tested, and the adversary. Their palindromes: tests/test_chunks.py."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from datamodules import PalindromeDataModule
from datamodules.palindromes.worst_cases import CASES
from metrics.adversary import greedy_adversary


@pytest.mark.parametrize("batch_size", [33, 64, 99, 128])
def test_all_cases_are_tested_at_each_length(batch_size: int) -> None:
    chunks: Any = PalindromeDataModule(5, batch_size, test_lengths=[9, 1001]).test_dataloader()
    cases: dict[Any, list[int]] = {}
    for chunk in chunks:
        cases.setdefault((chunk.length, chunk.case), []).append(len(chunk.target))
    assert list(cases) == [*((9, case) for case in ["", *CASES, "adversary"]), *((1001, case) for case in ["", *CASES])]
    for (_, case), sizes in cases.items():
        assert sum(sizes) == (100 if case else 1000)
        assert max(sizes) <= batch_size
        assert not case or min(sizes) == max(sizes)  # so that several processes can share each batch


def by_counting(digits: Tensor, counts: Any) -> tuple[Tensor, Any]:
    """A network that answers with the digit that it read most often, where the first one counts 100 times."""
    weight = torch.ones(digits.shape)
    if counts is None:
        weight[:, 0] = 100
    read = (F.one_hot(digits, 10) * weight[..., None]).sum(dim=1)
    (before,) = (torch.zeros(1, *read.shape),) if counts is None else counts
    return (before + read)[0], (before + read,)


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


@pytest.mark.parametrize("given", [1, 2, 5])
def test_an_adversary_reads_up_to_the_length(given: int) -> None:
    digits = torch.randint(10, (3, given))
    read = greedy_adversary(by_counting, digits, 5).sum(dim=1)
    assert read.tolist() == [104] * 3


def test_an_adversary_needs_a_state() -> None:
    with pytest.raises(ValueError, match="the network returns no state"):
        greedy_adversary(lambda digits, state: (torch.zeros(len(digits), 10), None), torch.zeros(2, 1).long(), 3)
