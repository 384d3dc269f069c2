"""Worst cases of the last digit: what the palindromes hold, and the adversary."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from datamodules import ChunkedPalindromes, PalindromeDataModule
from datamodules.palindromes.worst_cases import CASES
from metrics.adversary import greedy_adversary

Row = list[int]


def palindromes(case: str, length: int, batch_size: int = 100, seed: int = 3) -> Tensor:
    """All 100 palindromes of a case, (100, T)."""
    parts: list[list[Tensor]] = []
    for chunk in ChunkedPalindromes(length, 100, batch_size, seed, case=case):
        parts = [*parts, []] if chunk.starts else parts
        parts[-1].append(chunk.digits)
        if chunk.ends:
            parts[-1].append(chunk.target[:, None])
        assert chunk.case == case
    return torch.cat([torch.cat(each, dim=1) for each in parts])


PROPERTIES: dict[str, Callable[[int, Row], bool]] = {
    "constant_rest": lambda first, rest: len({*rest}) == 1,
    "two_digits": lambda first, rest: len({first, *rest}) == 2,
    "alternating": lambda first, rest: len({*rest}) == 2 and all(a != b for a, b in pairwise(rest)),
    "first_absent": lambda first, rest: first not in rest and len({*rest}) == 9,
    "mostly_one": lambda first, rest: 0.9 < max(map(rest.count, range(10))) / len(rest) < 1,
}
"""What holds for the first digit and those between it and the middle."""


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("length", "batch_size"), [(2, 100), (3, 9), (4, 100), (2000, 100), (2001, 64), (9000, 30)])
def test_each_case_is_a_palindrome_with_its_property(case: str, length: int, batch_size: int) -> None:
    rows = palindromes(case, length, batch_size)
    assert rows.shape == (100, length)
    assert torch.equal(rows, rows.flip(1))
    assert rows[:, 0].bincount().tolist() == [10] * 10
    for first, *rest in rows[:, : length // 2].tolist():
        assert length < 5 or PROPERTIES[case](first, rest)
    assert torch.equal(rows, palindromes(case, length, batch_size))


def test_constant_rests_have_all_pairs_of_digits() -> None:
    assert sorted(map(tuple, palindromes("constant_rest", 9, batch_size=7)[:, :2].tolist())) == [
        (first, other) for first in range(10) for other in range(10)
    ]


@pytest.mark.parametrize("case", ["two_digits", "first_absent", "mostly_one"])
def test_random_cases_differ_by_seed_length_and_block(case: str) -> None:
    rows = palindromes(case, 9000)
    others = [palindromes(case, 9000, seed=4), palindromes(case, 9001), rows[:, 4096:]]
    assert all((rows[:, 1:400] != other[:, 1:400]).any(dim=1).all() for other in others)
    assert len(rows[:, :400].unique(dim=0)) == 100


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


def test_an_unknown_case_is_refused() -> None:
    with pytest.raises(ValueError, match="case is 'constant'; write one of , constant_rest, two_digits"):
        ChunkedPalindromes(9, 100, 100, 3, case="constant")


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
