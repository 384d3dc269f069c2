"""Chunked test palindromes: their contents, also of worst cases, that they follow from (seed, length), and shares."""

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules import ChunkedPalindromes, PalindromeChunk
from datamodules.palindromes.chunks import CHUNK
from datamodules.palindromes.worst_cases import CASES

LENGTHS = st.one_of(st.integers(2, 20), st.sampled_from([4096, 4097, 4098, 8193, 8194, 20001]))


def batches(loader: ChunkedPalindromes) -> list[list[PalindromeChunk]]:
    """The chunks of each batch."""
    grouped: list[list[PalindromeChunk]] = []
    for chunk in loader:
        if chunk.starts:
            grouped.append([])
        grouped[-1].append(chunk)
    return grouped


def palindromes(loader: ChunkedPalindromes) -> torch.Tensor:
    """The complete palindromes, (size, T)."""
    whole = [[*(chunk.digits for chunk in chunks), chunks[0].target[:, None]] for chunks in batches(loader)]
    return torch.cat([torch.cat(parts, dim=1) for parts in whole])


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), LENGTHS, st.integers(1, 7), st.integers(1, 3))
def test_chunks_make_palindromes(seed: int, length: int, size: int, batch_size: int) -> None:
    loader = ChunkedPalindromes(length, size, batch_size, seed)
    rows = palindromes(loader)
    assert (rows.dtype, rows.shape) == (torch.int64, (size, length))
    assert torch.equal(rows, rows.flip(1))
    assert 0 <= rows.min() <= rows.max() <= 9
    assert torch.equal(rows, palindromes(ChunkedPalindromes(length, size, batch_size, seed)))
    assert sum(map(len, batches(loader))) == len(loader)
    for chunks in batches(loader):
        assert [chunk.ends for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
        for chunk in chunks:
            assert chunk.length == length
            assert torch.equal(chunk.target, chunks[0].target)
            assert chunk.digits.shape[1] == CHUNK == 4096 or (chunk.ends and 1 <= chunk.digits.shape[1] <= CHUNK)


def test_seeds_lengths_batches_rows_and_blocks_differ() -> None:
    loaders = [ChunkedPalindromes(9000, 6, 3, seed=0), ChunkedPalindromes(9001, 3, 3, seed=0)]
    loaders += [ChunkedPalindromes(9000, 3, 3, seed) for seed in (1, 2**32)]
    rows = [row for loader in loaders for row in palindromes(loader)]
    starts = [row[start : start + 25] for row in rows for start in (0, 4096)]
    assert len({tuple(start.tolist()) for start in starts}) == 2 * 15


def test_a_share_is_taken_of_every_chunk() -> None:
    everything = ChunkedPalindromes(5000, size=7, batch_size=4, seed=3)
    mine = ChunkedPalindromes(5000, size=7, batch_size=4, seed=3, share=lambda rows: rows[1::2])
    for part, chunk in zip(mine, everything, strict=True):
        assert torch.equal(part.digits, chunk.digits[1::2])
        assert torch.equal(part.target, chunk.target[1::2])
        assert part[2:] == chunk[2:]


# The worst cases of the last digit.


def of_case(case: str, length: int, batch_size: int = 100, seed: int = 3) -> torch.Tensor:
    """All 100 palindromes of a worst case, (100, T)."""
    return palindromes(ChunkedPalindromes(length, 100, batch_size, seed, case=case))


PROPERTIES: dict[str, Callable[[int, list[int]], bool]] = {
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
    rows = of_case(case, length, batch_size)
    assert rows.shape == (100, length)
    assert torch.equal(rows, rows.flip(1))
    assert rows[:, 0].bincount().tolist() == [10] * 10
    for first, *rest in rows[:, : length // 2].tolist():
        assert length < 5 or PROPERTIES[case](first, rest)
    assert torch.equal(rows, of_case(case, length, batch_size))


def test_constant_rests_have_all_pairs_of_digits() -> None:
    assert sorted(map(tuple, of_case("constant_rest", 9, batch_size=7)[:, :2].tolist())) == [
        (first, other) for first in range(10) for other in range(10)
    ]


@pytest.mark.parametrize("case", ["two_digits", "first_absent", "mostly_one"])
def test_random_cases_differ_by_seed_length_and_block(case: str) -> None:
    rows = of_case(case, 9000)
    others = [of_case(case, 9000, seed=4), of_case(case, 9001), rows[:, 4096:]]
    assert all((rows[:, 1:400] != other[:, 1:400]).any(dim=1).all() for other in others)
    assert len(rows[:, :400].unique(dim=0)) == 100


def test_an_unknown_case_is_refused() -> None:
    with pytest.raises(ValueError, match="case is 'constant'; write one of , constant_rest, two_digits"):
        ChunkedPalindromes(9, 100, 100, 3, case="constant")
