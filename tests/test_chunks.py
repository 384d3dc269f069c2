"""Palindromes in chunks: that they are some, that they follow from (seed, length), and that no whole one exists."""

import tracemalloc
from itertools import islice

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.chunks import CHUNK, ChunkedPalindromes, PalindromeChunk
from datamodules.resumable import philox

seeds = st.integers(0, 2**32 - 1)
lengths = st.one_of(
    st.integers(2, 20), st.integers(4095, 4100), st.integers(8191, 8200), st.sampled_from([12289, 20001])
)


def batches(loader: ChunkedPalindromes) -> list[list[PalindromeChunk]]:
    """The chunks of each batch."""
    parted: list[list[PalindromeChunk]] = []
    for chunk in loader:
        if chunk.starts:
            parted.append([])
        parted[-1].append(chunk)
    return parted


def whole(chunks: list[PalindromeChunk]) -> torch.Tensor:
    """The complete palindromes, as a row each."""
    return torch.cat([*(chunk.digits for chunk in chunks), chunks[0].target[:, None]], dim=1)


def palindromes(length: int, size: int = 3, batch_size: int = 3, seed: int = 0) -> torch.Tensor:
    return torch.cat([whole(chunks) for chunks in batches(ChunkedPalindromes(length, size, batch_size, seed))])


@settings(deadline=None)
@given(seeds, lengths, st.integers(1, 7), st.integers(1, 3))
def test_the_chunks_of_a_batch_make_palindromes(seed: int, length: int, size: int, batch_size: int) -> None:
    parted = batches(ChunkedPalindromes(length, size, batch_size, seed))
    assert sum(len(chunks[0].target) for chunks in parted) == size
    for chunks in parted:
        rows = whole(chunks)
        assert rows.dtype == torch.int64
        assert rows.shape[1] == length
        assert torch.equal(rows, rows.flip(1))
        assert rows.min() >= 0
        assert rows.max() <= 9


@settings(deadline=None)
@given(lengths, st.integers(1, 7), st.integers(1, 3))
def test_chunks_are_short_and_know_what_they_are_a_part_of(length: int, size: int, batch_size: int) -> None:
    loader = ChunkedPalindromes(length, size, batch_size, seed=0)
    parted = batches(loader)
    assert sum(map(len, parted)) == len(loader)
    for chunks in parted:
        assert [chunk.starts for chunk in chunks] == [True] + [False] * (len(chunks) - 1)
        assert [chunk.ends for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
        for chunk in chunks:
            assert chunk.length == length
            assert torch.equal(chunk.target, chunks[0].target)
            assert chunk.digits.shape[1] == CHUNK == 4096 or (chunk.ends and 1 <= chunk.digits.shape[1] <= CHUNK)


@pytest.mark.parametrize(("length", "chunks"), [(2, 1), (4097, 1), (4098, 2), (8193, 2), (8194, 3)])
def test_what_is_read_is_cut_every_4096_digits(length: int, chunks: int) -> None:
    assert len(ChunkedPalindromes(length, size=1, batch_size=1, seed=0)) == chunks


@pytest.mark.parametrize("length", [7, 5000])
def test_the_last_batch_holds_what_is_left(length: int) -> None:
    parted = batches(ChunkedPalindromes(length, size=10, batch_size=4, seed=0))
    assert [[len(chunk.digits) for chunk in chunks] for chunks in parted] == [[n] * len(parted[0]) for n in (4, 4, 2)]
    assert [len(chunks[0].target) for chunks in parted] == [4, 4, 2]


@given(seeds, lengths)
@settings(deadline=None, max_examples=20)
def test_every_pass_gives_the_same(seed: int, length: int) -> None:
    loader = ChunkedPalindromes(length, size=3, batch_size=2, seed=seed)
    again = ChunkedPalindromes(length, size=3, batch_size=2, seed=seed)
    for one, same, other in zip(loader, loader, again, strict=True):
        assert torch.equal(one.digits, same.digits)
        assert torch.equal(one.digits, other.digits)
        assert torch.equal(one.target, other.target)


@pytest.mark.parametrize("length", [50, 9000])
def test_seeds_lengths_batches_and_rows_differ(length: int) -> None:
    first, second = palindromes(length, size=6)[:3], palindromes(length, size=6)[3:]
    beginnings = [first, second, palindromes(length, seed=1), palindromes(length + 1)]
    beginnings.append(palindromes(length, seed=2**32))
    rows = {tuple(row) for batch in beginnings for row in batch[:, :25].tolist()}
    assert len(rows) == 15


def test_the_blocks_of_4096_positions_differ() -> None:
    [row] = palindromes(20_001, size=1).tolist()
    assert len({tuple(row[start : start + 50]) for start in (0, 4096, 8192)}) == 3


def test_a_share_takes_its_rows_of_every_chunk() -> None:
    everything = ChunkedPalindromes(5000, size=7, batch_size=4, seed=3)
    mine = ChunkedPalindromes(5000, size=7, batch_size=4, seed=3, share=lambda rows: rows[1::2])
    assert len(mine) == len(everything)
    for part, chunk in zip(mine, everything, strict=True):
        assert torch.equal(part.digits, chunk.digits[1::2])
        assert torch.equal(part.target, chunk.target[1::2])
        assert part[2:] == chunk[2:]


@pytest.mark.parametrize(("length", "size"), [(5, 20_000), (10_001, 20)])
def test_all_digits_are_about_equally_frequent(length: int, size: int) -> None:
    read = palindromes(length, size, batch_size=size)
    frequencies = torch.bincount(read[:, : (length + 1) // 2].flatten(), minlength=10) / (size * ((length + 1) // 2))
    assert (frequencies - 0.1).abs().max() < 0.01


def test_targets_are_about_equally_frequent() -> None:
    targets = palindromes(2, 20_000, batch_size=1000)[:, 1]
    assert (torch.bincount(targets, minlength=10) / 20_000 - 0.1).abs().max() < 0.01


def test_a_palindrome_of_a_million_digits_is_never_there_as_a_whole() -> None:
    rows = 8
    philox(0, "what is imported at first use").integers(0, 10, 3)
    tracemalloc.start()
    try:
        loader = ChunkedPalindromes(1_000_000, size=rows, batch_size=rows, seed=0)
        first = list(islice((chunk.digits.shape for chunk in loader), 3))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert first == [(rows, CHUNK)] * 3
    assert len(loader) == 245
    # A whole palindrome would be 244 chunks, even as bytes 30 times an int64 chunk.
    assert peak < 8 * rows * CHUNK * 8


def test_digits_in_the_far_half_of_a_million_mirror_those_in_the_near_one() -> None:
    loader = ChunkedPalindromes(1_000_000, size=2, batch_size=2, seed=5)
    *_, last = loader
    first = next(iter(loader))
    ending = torch.cat([last.digits, last.target[:, None]], dim=1)
    assert torch.equal(ending, first.digits[:, : ending.shape[1]].flip(1))
