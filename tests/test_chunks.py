"""Chunked test palindromes: their contents, that they follow from (seed, length), and their memory."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules import ChunkedPalindromes, PalindromeChunk
from datamodules.palindromes.chunks import CHUNK

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
