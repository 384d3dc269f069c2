"""Chunked test palindromes: their contents, that they follow from (seed, length), and their memory."""

import tracemalloc
from itertools import islice

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules import ChunkedPalindromes, PalindromeChunk
from datamodules.palindromes.chunks import CHUNK
from datamodules.resumable import philox

seeds = st.integers(0, 2**32 - 1)
lengths = st.one_of(st.integers(2, 20), st.integers(4095, 4100), st.sampled_from([8193, 8194, 12289, 20001]))


def batches(loader: ChunkedPalindromes) -> list[list[PalindromeChunk]]:
    """The chunks of each batch."""
    grouped: list[list[PalindromeChunk]] = []
    for chunk in loader:
        if chunk.starts:
            grouped.append([])
        grouped[-1].append(chunk)
    return grouped


def whole(chunks: list[PalindromeChunk]) -> torch.Tensor:
    """The complete palindromes of a batch, (batch, T)."""
    return torch.cat([*(chunk.digits for chunk in chunks), chunks[0].target[:, None]], dim=1)


def palindromes(length: int, size: int = 3, batch_size: int = 3, seed: int = 0) -> torch.Tensor:
    return torch.cat([whole(chunks) for chunks in batches(ChunkedPalindromes(length, size, batch_size, seed))])


@settings(deadline=None, max_examples=40)
@given(seeds, lengths, st.integers(1, 7), st.integers(1, 3))
def test_chunks_make_palindromes(seed: int, length: int, size: int, batch_size: int) -> None:
    loader = ChunkedPalindromes(length, size, batch_size, seed)
    grouped = batches(loader)
    assert sum(map(len, grouped)) == len(loader)
    assert sum(len(chunks[0].target) for chunks in grouped) == size
    for chunks in grouped:
        rows = whole(chunks)
        assert (rows.dtype, rows.shape[1]) == (torch.int64, length)
        assert torch.equal(rows, rows.flip(1))
        assert set(rows.flatten().tolist()) <= set(range(10))
        assert [chunk.starts for chunk in chunks] == [True] + [False] * (len(chunks) - 1)
        assert [chunk.ends for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
        for chunk in chunks:
            assert chunk.length == length
            assert torch.equal(chunk.target, chunks[0].target)
            assert chunk.digits.shape[1] == CHUNK == 4096 or (chunk.ends and 1 <= chunk.digits.shape[1] <= CHUNK)


@pytest.mark.parametrize(("length", "chunks"), [(2, 1), (4097, 1), (4098, 2), (8193, 2), (8194, 3)])
def test_sequences_are_cut_every_4096_digits(length: int, chunks: int) -> None:
    assert len(ChunkedPalindromes(length, size=1, batch_size=1, seed=0)) == chunks


@pytest.mark.parametrize("length", [7, 5000])
def test_every_pass_yields_the_same(length: int) -> None:
    loader = ChunkedPalindromes(length, size=10, batch_size=4, seed=3)
    again = ChunkedPalindromes(length, size=10, batch_size=4, seed=3)
    for one, same, other in zip(loader, loader, again, strict=True):
        assert torch.equal(one.digits, same.digits)
        assert torch.equal(one.digits, other.digits)
        assert torch.equal(one.target, other.target)
    assert [len(chunks[0].target) for chunks in batches(loader)] == [4, 4, 2]


@pytest.mark.parametrize("length", [50, 9000])
def test_seeds_lengths_batches_and_rows_differ(length: int) -> None:
    first, second = palindromes(length, size=6)[:3], palindromes(length, size=6)[3:]
    others = [palindromes(length, seed=1), palindromes(length + 1), palindromes(length, seed=2**32)]
    assert len({tuple(row) for batch in (first, second, *others) for row in batch[:, :25].tolist()}) == 15


def test_blocks_of_4096_positions_differ() -> None:
    [row] = palindromes(20_001, size=1).tolist()
    assert len({tuple(row[start : start + 50]) for start in (0, 4096, 8192)}) == 3


def test_a_share_is_taken_of_every_chunk() -> None:
    everything = ChunkedPalindromes(5000, size=7, batch_size=4, seed=3)
    mine = ChunkedPalindromes(5000, size=7, batch_size=4, seed=3, share=lambda rows: rows[1::2])
    assert len(mine) == len(everything)
    for part, chunk in zip(mine, everything, strict=True):
        assert torch.equal(part.digits, chunk.digits[1::2])
        assert torch.equal(part.target, chunk.target[1::2])
        assert part[2:] == chunk[2:]


@pytest.mark.parametrize(("length", "size"), [(2, 20_000), (5, 20_000), (10_001, 20)])
def test_digits_are_uniform(length: int, size: int) -> None:
    free = palindromes(length, size, batch_size=size)[:, : (length + 1) // 2].flatten()
    assert (torch.bincount(free, minlength=10) / len(free) - 0.1).abs().max() < 0.01


def test_a_million_digits_need_the_memory_of_a_few_chunks() -> None:
    rows = 8
    philox(0, "imports at first use").integers(0, 10, 3)
    loader = ChunkedPalindromes(1_000_000, size=rows, batch_size=rows, seed=0)
    tracemalloc.start()
    try:
        first = list(islice((chunk.digits.shape for chunk in loader), 3))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert first == [(rows, CHUNK)] * 3
    assert peak < 8 * rows * CHUNK * 8  # the whole would take 244 chunks


def test_the_second_half_mirrors_the_first() -> None:
    loader = ChunkedPalindromes(100_000, size=2, batch_size=2, seed=5)
    first, *_, last = loader
    ending = torch.cat([last.digits, last.target[:, None]], dim=1)
    assert torch.equal(ending, first.digits[:, : ending.shape[1]].flip(1))
